"""A person at the dashboard: URL, name, password, directory for pictures.

Runs in Horizon's environment (``tools/dashboard``), with headless Chromium.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

PANELS = (
    "workbooks", "workflows", "actions", "executions", "tasks", "action_executions",
    "cron_triggers",
)  # fmt: skip
OF_EACH = 3
"""Pages of one kind that are opened."""

LINKS = """
return [...document.querySelectorAll(arguments[0])]
    .map(each => each.getAttribute("href") || "");
"""
CLOSE = """
document.querySelector("#modal_wrapper").replaceChildren();
document.querySelectorAll(".modal-backdrop").forEach(each => each.remove());
"""


PRESS = """
const row = [...document.querySelectorAll("table tbody tr")]
    .find(each => each.textContent.includes(arguments[0]));
const button = [...row.querySelectorAll("button, a")]
    .find(each => each.textContent.includes(arguments[1]));
button.click();
return button.className.includes("danger");
"""


class Walk:
    """:param root: the dashboard's URL."""

    def __init__(self, root: str, pictures: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for option in (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
            "--window-size=1300,900",
        ):  # fmt: skip
            options.add_argument(option)
        service = Service("/usr/bin/chromedriver")
        self.browser = webdriver.Chrome(options=options, service=service)
        self.browser.set_page_load_timeout(120)
        self.root = root
        self.pictures = pictures
        self.failed = 0

    def step(self, name: str, act: Callable[[], None], success: str = "") -> None:
        """:param success: what the dashboard has to say."""
        try:
            act()
            said = self.alerts()
            good = any(success in each for each in said) if success else not said
            text = self.browser.find_element(By.TAG_NAME, "body").text
            if "Traceback" in text:
                good, said = False, [*said, *text.splitlines()[:2]]
        except Exception as error:
            good, said = False, [f"{type(error).__name__}: {str(error)[:200]}"]
        self.failed += not good
        print(f"{' ok ' if good else 'FAIL'} {name} {'; '.join(said)}")
        file = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
        self.browser.save_screenshot(str(self.pictures / f"{file}.png"))

    def alerts(self) -> list[str]:
        found = self.browser.find_elements(By.CSS_SELECTOR, ".alert")
        return [each.text.replace("\n", " ") for each in found if each.text]

    def open(self, path: str) -> None:
        self.browser.get(f"{self.root}/{path}")

    def press(self, element: object) -> None:
        self.browser.execute_script("arguments[0].click()", element)

    def wait(self, what: Callable[[], object]) -> None:
        WebDriverWait(self.browser, 60).until(lambda _: what())

    # -- What a person does ---------------------------------------------------

    def log_in(self, name: str, password: str) -> None:
        self.open("auth/login/")
        self.fill(username=name, password=password)
        self.press(self.browser.find_element(By.ID, "loginBtn"))
        self.wait(lambda: "/auth/login" not in self.browser.current_url)

    def fill(self, **fields: str) -> None:
        for name, text in fields.items():
            field = self.browser.find_element(By.NAME, name)
            if field.tag_name == "select":
                choices = Select(field)
                [chosen] = [o.text for o in choices.options if text in o.text]
                choices.select_by_visible_text(chosen)
            else:
                field.clear()
                field.send_keys(text)

    def form(self, path: str, **fields: str) -> None:
        self.open(path)
        self.fill(**fields)
        buttons = self.browser.find_elements(
            By.CSS_SELECTOR, "input[type=submit].btn-primary"
        )
        self.press(buttons[-1])
        self.wait(self.alerts)

    def button(self, panel: str, row: str, label: str) -> None:
        """Press a button of a row, and confirm."""
        self.open(f"mistral/{panel}/")
        # in one go: rows of what runs are replaced all the time
        is_dangerous = self.browser.execute_script(PRESS, row, label)
        if is_dangerous:
            confirm = ".modal .btn-danger, .modal .btn-primary"
            find = self.browser.find_elements
            self.wait(lambda: find(By.CSS_SELECTOR, confirm))
            self.press(find(By.CSS_SELECTOR, confirm)[-1])
        self.wait(self.alerts)

    def dialog(self, path: str) -> None:
        """Press the link to it, as it stands on the page; see what opens and close it.

        Some of these have no page of their own in mistral-dashboard 23.0.0: it lacks
        ``default/code.html`` and ``executions/_update.html``.
        """
        find = self.browser.find_elements
        self.press(find(By.CSS_SELECTOR, f'a[href="/{path}"]')[0])
        opened = "#modal_wrapper .modal .cancel"
        self.wait(lambda: find(By.CSS_SELECTOR, opened) or self.alerts())
        self.browser.execute_script(CLOSE)

    def give_result(self, row: str, output: str) -> None:
        """Of an action that waits for one."""
        self.open("mistral/action_executions/")
        self.browser.execute_script(PRESS, row, "Update")
        find = self.browser.find_elements
        submit = "#modal_wrapper .btn-primary"
        self.wait(lambda: find(By.CSS_SELECTOR, submit))
        self.fill(state="Success", output_source="Direct Input", output_data=output)
        self.press(find(By.CSS_SELECTOR, submit)[-1])
        self.wait(lambda: not find(By.CSS_SELECTOR, submit))

    def shows(self, panel: str, row: str, text: str) -> None:
        """A row of a panel says this by and by."""

        def said() -> bool:
            self.open(f"mistral/{panel}/")
            rows = self.browser.find_elements(By.CSS_SELECTOR, "table tbody tr")
            return any(row in each.text and text in each.text for each in rows)

        self.wait(said)

    def every_page(self) -> None:
        """All that the panels link to."""
        waiting = [f"mistral/{panel}/" for panel in PANELS]
        seen: set[str] = set()
        kinds: dict[str, int] = {}

        def is_new(path: str) -> bool:
            kind = "/".join(path.split("/")[:2] + path.split("/")[-1:])
            if path in seen or kinds.get(kind, 0) >= OF_EACH:
                return False
            seen.add(path)
            kinds[kind] = kinds.get(kind, 0) + 1
            return True

        while waiting:
            path = waiting.pop(0)
            if not is_new(path):
                continue
            self.step(path, lambda path=path: self.open(path))
            dialogs = set(self.links("a.ajax-modal"))
            waiting += [each for each in self.links("a") if each not in dialogs]
            for each in filter(is_new, sorted(dialogs)):
                self.step(each, lambda each=each: self.dialog(each))

    def links(self, selector: str) -> list[str]:
        """Paths of the plug-in that these lead to."""
        paths = self.browser.execute_script(LINKS, selector)
        return [each[1:] for each in paths if re.fullmatch(r"/mistral/[^?#]*", each)]


def main() -> int:
    root, name, password, pictures = sys.argv[1:]
    walk = Walk(root, Path(pictures))
    try:
        walk.step("log in", lambda: walk.log_in(name, password))
        walk.every_page()
        run = "mistral/workflows/greet/execute"
        walk.step(
            "execute",
            lambda: walk.form(run, whom="me", loud="true"),
            "has been created",
        )
        cron = {"name": "new", "workflow_id": "waits", "schedule_pattern": "0 0 1 1 *"}
        walk.step(
            "make a cron trigger",
            lambda: walk.form("mistral/cron_triggers/create", **cron),
            "Successfully created",
        )
        echo = "mistral/actions/std.echo/run"
        walk.step(
            "run an action",
            lambda: walk.form(echo, input='{"output": 1}'),
            "Run action",
        )
        walk.step("give a result", lambda: walk.give_result("asks", '{"a": 1}'))
        walk.step(
            "it is taken", lambda: walk.shows("action_executions", "asks", "SUCCESS")
        )
        for panel, row, label, told in (
            ("executions", "waits", "Pause", "Paused"),
            ("executions", "waits", "Resume", "Resumed"),
            ("executions", "waits", "Cancel", "Canceled"),
            ("executions", "waits", "Delete", "Deleted"),
            ("workbooks", "toolbox", "Delete", "Deleted"),
            ("cron_triggers", "yearly", "Delete", "Deleted"),
            ("cron_triggers", "new", "Delete", "Deleted"),
            ("actions", "shout", "Delete", "Deleted"),
            ("workflows", "fails", "Delete", "Deleted"),
        ):

            def act(panel: str = panel, row: str = row, label: str = label) -> None:
                walk.button(panel, row, label)

            walk.step(f"{panel}: {label} {row}", act, told)
    finally:
        walk.browser.quit()
    print(f"{walk.failed} failed; pictures in {pictures}")
    return 1 if walk.failed else 0


if __name__ == "__main__":
    sys.exit(main())
