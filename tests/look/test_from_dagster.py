"""From a contact sheet in Dagster's own UI to its pictures."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, expect

from tests.commands import program
from tests.conftest import run
from tests.dagster_ui import START_SECONDS, free_port, wait_for

COLLECTION = "01_data_collection_16_oct_2021"


def test_a_sheet_leads_to_its_pictures_for_those_who_have_the_token(
    demo: Path, tmp_path: Path, browser: Browser
) -> None:
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(demo), str(root))
    said = tmp_path / "ui.log"
    command = [program("registry"), "--root", str(root), "ui", "--port", str(free_port())]
    with said.open("w") as log:
        server = subprocess.Popen(command, cwd="/", stdout=log, stderr=subprocess.STDOUT)
    try:
        printed = re.compile(r"^http://\S+\?token=\S+$", re.MULTILINE)
        found = wait_for(START_SECONDS, lambda: printed.search(said.read_text()), "address")
        address = found[0]
        sheet = f"http://{urlsplit(address).netloc}/assets/raw?view=events&partition={COLLECTION}"
        context = browser.new_context()
        # The cookie; Dagster's first page takes long to show.
        assert context.request.get(address).ok
        page = context.new_page()
        page.goto(sheet)
        page.locator("a:has(img[src*='/sheets/'])").click()
        expect(page).to_have_url(re.compile(rf"/registry/\w+/look/#source=raw/{COLLECTION}"))
        expect(page.locator("img[src^='thumbnails/']").first).to_be_visible()
        # Nobody else sees them.
        page.context.clear_cookies()
        page.reload()
        expect(page.locator("body")).to_contain_text("the address with its token")
        context.close()
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
