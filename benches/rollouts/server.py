"""A model server for measurements: chat completions over HTTP, with a latency and a fixed script.

Every conversation gets TOOLS answers that call a tool, then one in words; each answer is sent LATENCY
seconds after its request came. What the conversation has had so far is counted in the request
itself, so that the server keeps nothing. `GET /count` tells how many answers were given and the most
that were waited for at once; it starts the counts anew.
"""
import asyncio
import json
import re
import sys

port, latency, tools = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
ASSISTANT = re.compile(rb'"role": ?"assistant"')
STREAM = re.compile(rb'"stream": ?true')
COMMAND = "echo step >> steps.txt; wc -l < steps.txt"
count = {"answers": 0, "waiting": 0, "most": 0}


def message(body):
    done = len(ASSISTANT.findall(body))
    if done >= tools:
        return {"role": "assistant", "content": "Done."}, "stop"
    for name, field in (("execute_bash", "command"), ("exec", "command"), ("bash", "command")):
        if b'"name":"%s"' % name.encode() in body or b'"name": "%s"' % name.encode() in body:
            break
    call = {"id": f"call_{done + 1}", "type": "function",
            "function": {"name": name, "arguments": json.dumps({field: COMMAND})}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"


def reply(body):
    said, finish = message(body)
    usage = {"prompt_tokens": len(body) // 4, "completion_tokens": 20, "total_tokens": len(body) // 4 + 20}
    base = {"id": "c", "created": 0, "model": "script"}
    if not STREAM.search(body):
        choice = {"index": 0, "message": said, "finish_reason": finish}
        text = json.dumps(base | {"object": "chat.completion", "choices": [choice], "usage": usage})
        return "application/json", text.encode()
    for index, call in enumerate(said.get("tool_calls", [])):
        call["index"] = index
    piece = {"index": 0, "delta": said, "finish_reason": finish}
    first = base | {"object": "chat.completion.chunk", "choices": [piece]}
    last = base | {"object": "chat.completion.chunk", "choices": [], "usage": usage}
    text = f"data: {json.dumps(first)}\n\ndata: {json.dumps(last)}\n\ndata: [DONE]\n\n"
    return "text/event-stream", text.encode()


async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"GET /count"):
                text = json.dumps(count).encode()
                count.update(answers=0, most=0)
                kind = "application/json"
            else:
                length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
                body = await reader.readexactly(length)
                count["waiting"] += 1
                count["most"] = max(count["most"], count["waiting"])
                await asyncio.sleep(latency)
                count["waiting"] -= 1
                count["answers"] += 1
                kind, text = reply(body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
                         % (kind.encode(), len(text)) + text)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096, limit=1 << 24)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
