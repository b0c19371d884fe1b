#!/usr/bin/env bash
# Makes registry.tar.xz: a registry as registry-assets 0.1.0 left it, with all of its history.
#
#     PYTHON=.venv/bin/python tests/earlier/0.1.0/make_registry.sh
#
# Everything is made with the code of one commit, installed below PLACE. Paths end up in histories,
# so PLACE is the same on every machine and has to be free.
set -euo pipefail

COMMIT=${COMMIT:-f1f5fc8}
PLACE=/tmp/registry-0.1.0
HERE=$(cd "$(dirname "$0")" && pwd)
TOP=$(git -C "$HERE" rev-parse --show-toplevel)
PYTHON=$(realpath --no-symlinks "${PYTHON:-$TOP/.venv/bin/python}")
DATASET=processed/01_image_dataset

mkdir "$PLACE"
trap 'rm -rf "$PLACE"' EXIT
cd "$PLACE"
mkdir home code

# As on a machine of nobody.
export HOME=$PLACE/home TZ=UTC GIT_CONFIG_NOSYSTEM=1 DVC_NO_ANALYTICS=1 DAGSTER_DISABLE_TELEMETRY=1
export DVC_GLOBAL_CONFIG_DIR=$HOME/dvc DVC_SYSTEM_CONFIG_DIR=$HOME/dvc DVC_SITE_CACHE_DIR=$HOME/dvc-site
unset DAGSTER_HOME REGISTRY_ROOT XDG_CONFIG_HOME PYTHONPATH
git config --global user.name "Ada Example"
git config --global user.email ada@example.org
git config --global init.defaultBranch main
git config --global protocol.file.allow always

git -C "$TOP" archive "$COMMIT" | tar -x -C code
"$PYTHON" -m venv --without-pip venv
SITE=$(venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
ln -s "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" dependencies
echo "$PLACE/dependencies" > "$SITE/dependencies.pth"
"$PYTHON" -m pip --quiet --disable-pip-version-check --python venv/bin/python install \
    --no-deps --no-build-isolation --no-index --force-reinstall "$PLACE/code"
for program in dagster dagster-daemon dagster-webserver dvc; do
    sed "1s|.*|#!$PLACE/venv/bin/python|" "$(dirname "$PYTHON")/$program" > "venv/bin/$program"
    chmod +x "venv/bin/$program"
done
export PATH=$PLACE/venv/bin:$PATH
case $(python -c 'import registry_assets; print(registry_assets.__file__)') in
    "$SITE"/*) ;;
    *) echo "the code of $COMMIT is not what would run" >&2; exit 1 ;;
esac

# draw FOLDER/FILE KIND NUMBER: a picture of 48 x 32 pixels.
draw() {
    mkdir -p "$(dirname "$1")"
    python - "$@" <<'PYTHON'
import sys
from pathlib import Path
from PIL import Image, ImageDraw
place, kind, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sky, bar = {"day": (220, 60), "night": (20, 110), "dark": (4, 4), "foggy": (150, 150)}[kind]
image = Image.new("RGB", (48, 32), (sky, sky, sky))
for x in range(0, 48, 8):
    ImageDraw.Draw(image).rectangle((x, number % 8, x + 3, 31), (bar, bar, bar))
ImageDraw.Draw(image).point((number % 48, number % 32), (255, 0, 0))
image.save(place, quality=80)
PYTHON
}
commit() { git add --all && git commit --quiet --message "$1"; }
fails() { if "$@"; then echo "it should have failed: $*" >&2; exit 1; fi; }

# Another repository, to import from.
git init --quiet photos
(
    cd photos
    dvc init --quiet
    dvc remote add --quiet --default store "$PLACE/photos-store"
    draw raw/05_market/stall.jpg day 21
    draw raw/05_market/lamp.jpg night 22
    dvc add --quiet raw/05_market
    dvc push --quiet
    commit "Add 05_market"
)

registry init registry
git init --quiet --bare origin.git
mkdir storage
cd registry
dvc remote add --quiet --default --force storage "$PLACE/storage"
sed -i 's/^settle_seconds = .*/settle_seconds = 1/' pyproject.toml
commit "Start"
git remote add origin ../origin.git
git push --quiet --set-upstream origin main

draw raw/01_harbour/quay.jpg day 1
draw raw/01_harbour/crane.jpg day 2
draw raw/01_harbour/camera_b/mist.jpg foggy 3
draw raw/01_harbour/camera_b/evening.jpg night 4
draw raw/01_harbour/camera_b/cap_on.jpg dark 5
draw raw/01_harbour/camera_b/cut.jpg day 6
truncate --size=400 raw/01_harbour/camera_b/cut.jpg
cp raw/01_harbour/quay.jpg raw/01_harbour/camera_b/quay_again.jpg
echo "shot on a Saturday" > raw/01_harbour/notes.txt
registry add 01_harbour
registry import 01_harbour --into 01_image_dataset
registry materialize
registry publish --message "Add 01_harbour"
commit "Add 01_harbour"

# A collection of which another has a picture, too, made by Dagster's own command.
draw raw/02_forest/path.jpg day 7
draw raw/02_forest/clearing.jpg foggy 8
cp raw/01_harbour/crane.jpg raw/02_forest/stray.jpg
registry add 02_forest
registry import 02_forest --into 01_image_dataset
dagster asset materialize -m registry_assets.definitions --select 'key:"raw"+' --partition 02_forest
commit "Add 02_forest"
registry push
registry tag 01_image_dataset --message "Two collections"
git push --quiet origin main --tags

# A branch that somebody else is to merge.
git switch --quiet --create side
draw raw/04_side/door.jpg day 9
registry materialize --collection 04_side
commit "Add 04_side"
registry push
registry checkout main

# A decision, a next version, a run that fails, an import from elsewhere.
registry deny raw/01_harbour/crane.jpg --why "a thumb in it"
draw raw/01_harbour/new.jpg day 10
rm raw/01_harbour/notes.txt
fails registry materialize
registry add 01_harbour
cp $DATASET/params.yaml kept.yaml
sed -i 's/^dark_image_threshold: .*/dark_image_threshold: many/' $DATASET/params.yaml
fails registry materialize
mv kept.yaml $DATASET/params.yaml
registry materialize
commit "Deny a picture; the next version of 01_harbour"
registry import 05_market --into 01_image_dataset --from "$PLACE/photos"
registry materialize
commit "Import 05_market"

# The UI takes in a folder; every sensor has its turn.
draw raw/03_lake/shore.jpg day 11
draw raw/03_lake/night.jpg night 12
registry ui --port 38917 > ../ui.log 2>&1 &
ui=$!
for second in $(seq 240); do
    sleep 1
    # What it took in, and a tick of every sensor after that.
    grep -qs '"03_lake"' $DATASET/collections.yaml || continue
    [ "$(grep -c '@03_lake:' $DATASET/dvc.lock)" -ge 5 ] || continue
    taken_in=${taken_in:-$second}
    [ "$second" -lt $((taken_in + 75)) ] || break
done
kill -INT $ui
wait $ui
: "${taken_in:?the UI took nothing in: $(tail -n 20 ../ui.log)}"
commit "Add 03_lake"
registry push
git push --quiet origin --all

# What is remembered between commands.
sleep 3
for time in 1 2; do
    registry materialize
    registry status
    registry lineage --check
done
registry versions
registry trace $DATASET/data/outputs/day_images/sharp/01_harbour/quay.jpg
ls .dvc/tmp .dvc/tmp/registry_assets
cd ..

# Nothing but size.
find registry/.dagster -name '*.db' -exec sqlite3 {} 'PRAGMA wal_checkpoint(TRUNCATE); VACUUM' \;
find registry -name __pycache__ -prune -exec rm -rf {} +
for repository in registry origin.git; do
    rm -rf $repository/.git/hooks $repository/hooks
    git -C $repository gc --quiet --prune=now
done
# With times to the nanosecond and with the links between cache and workspace.
tar --create --format=posix --sort=name --owner=0 --group=0 --numeric-owner \
    registry origin.git storage | xz -9e > "$HERE/registry.tar.xz"
ls -l "$HERE/registry.tar.xz"
