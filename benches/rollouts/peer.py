"""The same rollouts by Inspect AI: its ReAct loop with the bash tool, in its `local` sandbox, which
isolates nothing and so costs it least."""
import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.agent import react
from inspect_ai.model import get_model
from inspect_ai.tool import bash

port, rollouts, logs = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
model = get_model("openai-api/script/script", base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
task = Task(
    dataset=[Sample(input="Tidy up the workspace.", id=n) for n in range(rollouts)],
    solver=react(tools=[bash(timeout=60)], submit=False),
    sandbox="local",
)
log = eval(task, model=model, log_dir=logs, display="none", max_samples=rollouts,
           max_connections=rollouts, max_subprocesses=8, max_sandboxes=rollouts)[0]
sys.exit(log.status != "success" or len(log.samples or []) != rollouts)
