//! Tools of a project's own.

use std::sync::Arc;

use claw::agent::{AgentSettings, CallLimits, Contract};
use claw::engine::{Args, Context, Operator};
use claw::lang::Value;
use claw::model::ToolCall;
use claw::sandbox::{Backend, Limits, Sandbox};
use claw::store::{Digest, MemoryObjects, Objects};
use serde_json::{Value as Json, json};

use crate::sandbox::shared;

use super::agent_operator;

async fn make(
    operator: &dyn Operator,
    objects: &Arc<MemoryObjects>,
    args: &[(&str, Value)],
) -> Result<Value, String> {
    let context = Context::quiet(objects.clone(), Digest::of(b"own"));
    let args = Args(args.iter().map(|(name, value)| (name.to_string(), value.clone())).collect());
    operator.call(&args, &context).await.map_err(|err| err.to_string())
}

fn schema() -> Value {
    Value::from_json(&json!({
        "type": "object",
        "required": ["path"],
        "properties": {
            "path": { "type": "string" },
            "most": { "type": "number" },
            "deep": { "type": "object" },
        },
    }))
}

fn tool(command: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("name", Value::str("look")),
        ("description", Value::str("Looks at a file.")),
        ("command", Value::str(command)),
        ("parameters", schema()),
    ]
}

/// An agent with this tool, and what its episodes use.
async fn opened(
    objects: &Arc<MemoryObjects>,
    tool: &[(&str, Value)],
) -> Result<(Value, Box<dyn Contract>), String> {
    let tool = make(&*agent_operator("command_tool"), objects, tool).await?;
    let agent =
        make(&*agent_operator("claw_tools"), objects, &[("own", Value::List(vec![tool]))]).await?;
    let settings = AgentSettings::from_value(&agent).unwrap();
    assert_eq!(settings.to_value(), agent);
    Ok((agent, settings.open(&**objects).unwrap()))
}

async fn sandbox(objects: &Arc<MemoryObjects>) -> Option<Box<dyn Sandbox>> {
    let files = objects.put_files(&[("a b.txt".to_string(), b"one\ntwo\n".to_vec())]).unwrap();
    let files = objects.tree(&files).unwrap();
    Some(shared()?.open(&files, &**objects, &Limits::default()).await.expect("opens"))
}

async fn call(
    tools: &dyn Contract,
    sandbox: &mut dyn Sandbox,
    name: &str,
    arguments: Json,
) -> (String, bool) {
    let call = ToolCall { id: "call_1".to_string(), name: name.to_string(), arguments };
    let limits = CallLimits { exec_ms: 60_000, ..CallLimits::default() };
    let result = tools.call(sandbox, &call, &limits).await.unwrap();
    (result.text, result.is_error)
}

#[tokio::test]
async fn arguments_come_as_json_and_in_variables_and_never_as_shell() {
    let objects = Arc::new(MemoryObjects::default());
    let line = "wc -l < \"$ARG_path\"; echo \"most=$ARG_most deep=$ARG_deep\"; cat; exit \"${ARG_most:-0}\"";
    let (_, tools) = opened(&objects, &tool(line)).await.unwrap();
    let names: Vec<&str> = tools.tools().iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["read", "edit", "write", "exec", "process", "look"]);
    assert_eq!(tools.tools()[5].description, "Looks at a file.");
    let Some(mut sandbox) = sandbox(&objects).await else { return };
    let told = call(&*tools, &mut *sandbox, "look", json!({ "path": "a b.txt" })).await;
    assert_eq!(told, ("2\nmost= deep=\n{\"path\":\"a b.txt\"}".to_string(), false));
    let arguments = json!({ "path": "a b.txt", "most": "3", "deep": { "x": [1] } });
    let told = call(&*tools, &mut *sandbox, "look", arguments).await;
    let expected = "2\nmost=3 deep=\n{\"deep\":{\"x\":[1]},\"most\":3,\"path\":\"a b.txt\"}\n\n\
                    (The tool exited with code 3)";
    assert_eq!(told, (expected.to_string(), true));
    // What would be a command in a shell is a name of no file.
    let evil = json!({ "path": "$(touch evil); `touch evil` \"; touch evil; \"" });
    let (text, _) = call(&*tools, &mut *sandbox, "look", evil).await;
    assert!(text.contains("touch evil") && !text.starts_with('2'), "{text}");
    let (listed, _) = call(&*tools, &mut *sandbox, "exec", json!({ "command": "ls" })).await;
    assert_eq!(listed, "a b.txt");
    // Arguments that break the schema are told as for any other tool.
    let (text, is_error) = call(&*tools, &mut *sandbox, "look", json!({ "most": 1 })).await;
    assert!(is_error);
    assert_eq!(
        text,
        "Validation failed for tool \"look\":\n  - path: must have required property 'path'\n\n\
         Received arguments:\n{\n  \"most\": 1\n}"
    );
}

#[tokio::test]
async fn a_file_comes_along_and_is_put_back() {
    let objects = Arc::new(MemoryObjects::default());
    let digest = objects.put(b"echo \"from $(basename \"$0\")\"\n").unwrap();
    let mut given = tool("sh \"$TOOL\"");
    given.push(("file", Value::File { digest, name: "look.sh".to_string() }));
    let (agent, tools) = opened(&objects, &given).await.unwrap();
    let Some(mut sandbox) = sandbox(&objects).await else { return };
    let look = json!({ "path": "x" });
    let fine = ("from look.sh".to_string(), false);
    assert_eq!(call(&*tools, &mut *sandbox, "look", look.clone()).await, fine);
    let spoil = json!({ "command": "for f in /tmp/tools/*/look.sh; do echo 'echo spoilt' > $f; done; cat /tmp/tools/*/*" });
    assert_eq!(call(&*tools, &mut *sandbox, "exec", spoil).await.0, "echo spoilt");
    assert_eq!(call(&*tools, &mut *sandbox, "look", look).await, fine);
    // Neither is a part of what is kept, and another file is another agent.
    let closed = sandbox.close(&*objects).await.unwrap();
    assert_eq!(closed.workspace.entries.len(), 1);
    let other = objects.put(b"echo other\n").unwrap();
    given.pop();
    given.push(("file", Value::File { digest: other, name: "look.sh".to_string() }));
    assert_ne!(opened(&objects, &given).await.unwrap().0.digest(), agent.digest());
}

#[tokio::test]
async fn what_no_model_could_use_is_refused_with_reasons() {
    let objects = Arc::new(MemoryObjects::default());
    let json = |json: Json| Value::from_json(&json);
    for (field, value, expected) in [
        ("name", Value::str("look at"), "`look at` cannot be a tool's name"),
        ("description", Value::str(" "), "the tool `look` has no description"),
        ("command", Value::str(""), "the tool `look` has no command"),
        ("parameters", json(json!({})), "the tool `look` has parameters that are no schema"),
        (
            "parameters",
            json(json!({ "type": "object", "properties": { "a": "string" } })),
            "the tool `look` has a parameter `a` whose schema is no record",
        ),
        (
            "parameters",
            json(json!({ "type": "object", "required": ["b"] })),
            "the tool `look` requires \"b\", which is none of its `properties`",
        ),
        ("name", Value::str("exec"), "there are two tools named `exec`"),
    ] {
        let mut given = tool("true");
        for (name, old) in &mut given {
            if *name == field {
                *old = value.clone();
            }
        }
        let err = opened(&objects, &given).await.err().expect("refused");
        assert!(err.starts_with(expected), "{err}");
    }
}
