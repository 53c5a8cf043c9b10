"""A whole agent: asks a model what to do, does it, says what came of it, until the model is done."""
import json, os, subprocess, urllib.request

def tool(name, about, **parameters):
    fields = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}

TOOLS = [tool("read", "Reads a file.", path="The file."),
         tool("write", "Writes a file.", path="The file.", content="All that shall be in it."),
         tool("exec", "Runs a shell command.", command="The command.")]

def act(name, path="", content="", command="", **_):
    if name == "exec":
        done = subprocess.run(command, shell=True, capture_output=True, text=True)
        return done.stdout + done.stderr + (f"\n(code {done.returncode})" if done.returncode else "")
    if name == "write":
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        return f"{open(path, 'w').write(content)} characters written"
    return open(path).read() if name == "read" else f"there is no tool {name}"

messages = [{"role": "user", "content": os.environ["CLAW_TASK"]}]
while True:
    body = {"model": os.environ["CLAW_MODEL"], "messages": messages, "tools": TOOLS}
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps(body).encode(), {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
    said = json.load(urllib.request.urlopen(request))["choices"][0]["message"]
    messages.append(said)
    for call in said.get("tool_calls") or []:
        try: result = act(call["function"]["name"], **json.loads(call["function"]["arguments"]))
        except (OSError, ValueError, TypeError) as error: result = f"error: {error}"
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    if not said.get("tool_calls"):
        break
