"""A worker: functions of your own that workflows call.

    python examples/worker.py --config-file /etc/mistral/mistral.conf

serves the target "pictures" (the file is the one of the service: where the broker is);
examples/pictures.yaml calls it.
"""

from __future__ import annotations

from typing import Any

from mistral.worker import Worker, action


@action
def resize(image: str, width: int = 100) -> dict[str, Any]:
    """What it returns is the result of the task."""
    return {"image": f"{width}/{image}", "width": width}


@action(later=True)
def ask_for_approval(image: str, context: Any) -> None:
    """Goes on until somebody calls the address, with what they decide as JSON."""
    print(f"Is {image} all right? {context.execution.signed_callback_url}")


if __name__ == "__main__":
    Worker("pictures", [resize, ask_for_approval]).main()
