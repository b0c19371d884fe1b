"""The page for looking at pictures, their verdicts and decisions: `registry look`.

guard.py            token, cookie, Host and Origin; the headers of every response
app.py              the application, and how it is mounted in another one
answers.py          functions of the registry as JSON over HTTP
threads.py          blocking work in a bounded number of threads
open_registry.py    the registry, read again when it changed
queries.py          reading what a request asks for
overview.py         what there is, and the state that the page watches
gallery.py          the pictures of a data set or folder, sorted, a window at a time
filtering.py        filters, and the counts beside them
listing.py          the pictures that pass filters
picture.py          everything known of one picture
thresholds.py       what other thresholds would change
duplicates.py       groups of duplicates
diff.py             two versions, side by side
decisions.py        decisions, made and taken back
parameters.py       thresholds, written
stored_pictures.py  thumbnails, previews, originals; fetching from the remote
places.py           addresses of places in the page
recorded.py         the contents that are served, and no others
serving.py          the server of `registry look`

HTML, CSS and JavaScript are in the folder `page`.
"""
