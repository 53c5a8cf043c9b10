//! `rollout.run` from its arguments to its row.

use std::sync::Arc;

use claw::agent::{AgentSettings, Ending, Models, Registry, Trajectory};
use claw::engine::{Args, CallError, Context, Operator};
use claw::lang::Value;
use claw::model::{Message, Model, ModelError};
use claw::operators::place::Backends;
use claw::operators::rollout::Rollout;
use claw::sandbox::{Backend, Command, Exit, Outcome, SandboxError};
use claw::store::{Digest, MemoryObjects, Objects};
use serde_json::json;

use super::agent_operator;
use super::fake::{FakeBackend, Files, Script, outcome, says};

fn solution() -> serde_json::Value {
    json!([
        { "tool": "read", "arguments": { "path": "in.txt" } },
        { "tool": "write", "arguments": { "path": "out/total.txt", "content": "42\n" } },
        { "tool": "exec", "arguments": { "command": "rm in.txt" } },
        { "answer": "The total is 42." }
    ])
}

struct Setting {
    objects: Arc<MemoryObjects>,
    backend: Arc<FakeBackend>,
    args: Args,
}

impl Setting {
    async fn new() -> Setting {
        let objects = Arc::new(MemoryObjects::default());
        let files = objects.put_files(&[("in.txt".to_string(), b"40\n2\n".to_vec())]).unwrap();
        let task = Value::record([
            ("id", Value::str("t1")),
            ("family", Value::str("sum")),
            ("prompt", Value::str("Add the numbers of in.txt.")),
            ("solution", Value::from_json(&solution())),
        ]);
        let world =
            Value::record([("id", Value::str("w1")), ("task", task), ("files", Value::Dir(files))]);
        let sandbox = Value::record([
            ("sandbox", Value::str("process")),
            ("memory", Value::Int(64 << 20)),
            ("time", Value::Int(5_000)),
            ("network", Value::Bool(false)),
        ]);
        let quiet = Context::quiet(objects.clone(), Digest::of(b"agent"));
        let agent = agent_operator("claw_tools").call(&Args::default(), &quiet).await.unwrap();
        let mut args = Args::default();
        for (name, value) in [
            ("world", world),
            ("agent", agent),
            ("model", Value::record([("model", Value::str("builtin/solver"))])),
            ("sandbox", sandbox),
            ("trial", Value::Int(2)),
        ] {
            args.0.insert(name.to_string(), value);
        }
        Setting { objects, backend: Arc::new(FakeBackend::default()), args }
    }

    fn set(&mut self, argument: &str, field: &str, value: Value) {
        let Some(Value::Record(fields)) = self.args.0.get_mut(argument) else { panic!() };
        fields.insert(field.to_string(), value);
    }

    async fn run(&self, models: Arc<dyn Models>) -> Result<Value, CallError> {
        let backend: Arc<dyn Backend> = self.backend.clone();
        let backends: Backends =
            Arc::new(move |name| (name == backend.name()).then(|| backend.clone()));
        let context = Context::quiet(self.objects.clone(), Digest::of(b"a call"));
        Rollout::new(models, backends).call(&self.args, &context).await
    }

    async fn solve(&self) -> Result<Value, CallError> {
        self.run(Arc::new(Registry::builtin())).await
    }
}

#[tokio::test]
async fn a_run_is_a_row_with_its_trajectory_and_workspace() {
    let setting = Setting::new().await;
    let row = setting.solve().await.unwrap();
    assert_eq!(row, setting.solve().await.unwrap(), "a run that is repeated is the same row");
    let Value::Record(fields) = &row else { panic!() };
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let expected = [
        "after",
        "ending",
        "finished",
        "id",
        "model",
        "refused",
        "steps",
        "tokens_in",
        "tokens_out",
        "trajectory",
        "trial",
        "world",
    ];
    assert_eq!(names, expected);
    assert_eq!(row.get("id").unwrap().as_str().unwrap().len(), 12);
    assert_eq!(row.get("world"), setting.args.0.get("world"));
    assert_eq!(row.get("model"), Some(&Value::str("builtin/solver")));
    assert_eq!(row.get("trial"), Some(&Value::Int(2)));
    assert_eq!(row.get("ending"), Some(&Value::str("answered")));
    assert_eq!(row.get("finished"), Some(&Value::Bool(true)));
    assert_eq!(row.get("steps"), Some(&Value::Int(4)));
    assert_eq!(row.get("refused"), Some(&Value::List(vec![Value::str("pipe (a FIFO)")])));

    let Some(Value::Dir(after)) = row.get("after") else { panic!() };
    let tree = setting.objects.tree(after).unwrap();
    assert_eq!(tree.entries.keys().collect::<Vec<_>>(), ["out/total.txt"]);
    let Some(Value::File { digest, name }) = row.get("trajectory") else { panic!() };
    assert_eq!(name, "trajectory.json");
    let trajectory = Trajectory::decode(&setting.objects.get(digest).unwrap()).unwrap();
    assert_eq!(trajectory.ending, Ending::Answered);
    assert_eq!(trajectory.contract, "claw/2026.4");
    assert_eq!(trajectory.after, Some(*after));
    assert_eq!(trajectory.settings, json!({ "model": "builtin/solver" }));
    assert_eq!(trajectory.versions["rollout.run"], "1");
    assert_eq!(trajectory.messages.len(), 2 + 3 * 2 + 1);

    let opened = setting.backend.opened.lock().unwrap();
    assert_eq!(opened[0].memory, 64 << 20);
    assert_eq!(opened[0].output, 800_000);
}

#[tokio::test]
async fn ids_differ_by_world_model_and_trial() {
    let mut setting = Setting::new().await;
    let mut ids = Vec::new();
    let id = |row: Value| row.get("id").unwrap().as_str().unwrap().to_string();
    ids.push(id(setting.solve().await.unwrap()));
    setting.args.0.insert("trial".to_string(), Value::Int(3));
    ids.push(id(setting.solve().await.unwrap()));
    setting.set("world", "id", Value::str("w2"));
    ids.push(id(setting.solve().await.unwrap()));
    setting.args.0.remove("trial");
    ids.push(id(setting.solve().await.unwrap()));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn the_worlds_failures_are_no_runs() {
    let setting = Setting::new().await;
    let lacking =
        FakeBackend { lacks: Some("no user namespaces".to_string()), ..Default::default() };
    let setting = Setting { backend: Arc::new(lacking), ..setting };
    let err = setting.solve().await.unwrap_err();
    assert!(matches!(err, CallError::Infrastructure(_)));
    assert_eq!(
        err.to_string(),
        "the `process` sandbox of world w1 did not open: no user namespaces\n  help: run as root"
    );

    struct Dead;
    impl Models for Dead {
        fn open(&self, _: &Value, _: &Value, _: &Context) -> Result<Arc<dyn Model>, ModelError> {
            Ok(Script::new(vec![Err(ModelError::Unavailable("the endpoint is down".to_string()))]))
        }
    }
    let err = Setting::new().await.run(Arc::new(Dead)).await.unwrap_err();
    assert!(matches!(err, CallError::Infrastructure(_)));
    assert_eq!(
        err.to_string(),
        "the episode of `builtin/solver` on world w1 ended by model_error in step 1: the endpoint is \
         down"
    );
}

#[tokio::test]
async fn a_checkpoint_runs_under_its_own_name() {
    struct Talker;
    impl Models for Talker {
        fn open(&self, _: &Value, _: &Value, _: &Context) -> Result<Arc<dyn Model>, ModelError> {
            Ok(Script::new(vec![says("I have nothing to say.")]))
        }
    }
    let mut setting = Setting::new().await;
    let weights = setting.objects.put_files(&[]).unwrap();
    let checkpoint =
        Value::record([("checkpoint", Value::Dir(weights)), ("name", Value::str("student"))]);
    setting.args.0.insert("model".to_string(), checkpoint);
    let row = setting.run(Arc::new(Talker)).await.unwrap();
    assert_eq!(row.get("model"), Some(&Value::str("student")));
    assert_eq!(row.get("tokens_in"), Some(&Value::Int(120)));
    let Some(Value::File { digest, .. }) = row.get("trajectory") else { panic!() };
    let trajectory = Trajectory::decode(&setting.objects.get(digest).unwrap()).unwrap();
    assert_eq!(trajectory.settings["checkpoint"]["$dir"], json!(weights.to_string()));
}

#[tokio::test]
async fn wrong_arguments_are_told_as_the_rows_failure() {
    type Change = fn(&mut Setting);
    let cases: [(Change, &str); 5] = [
        (
            |s| s.set("sandbox", "network", Value::Bool(true)),
            "a sandbox has no network: write `network: off`, or leave it out",
        ),
        (|s| s.set("sandbox", "memory", Value::Int(0)), "`sandbox.memory` must be at least 1"),
        (|s| s.set("world", "files", Value::Null), "`world.files` is not a directory"),
        (
            |s| s.set("agent", "agent", Value::str("claw/0")),
            "`agent` cannot be used: there is no tool contract `claw/0`; the known ones are: \
             claw/2026.4, sandbox/0.2, sandbox/0.2-legacy, sandbox/0.2-vanilla",
        ),
        (
            |s| s.set("world", "task", Value::record([("prompt", Value::str("?"))])),
            "cannot open the model `builtin/solver`: the task's solution cannot be played: it has no \
             list of calls\n  help: a solution is {calls, answer}, with calls of the form {name, \
             arguments}",
        ),
    ];
    for (change, expected) in cases {
        let mut setting = Setting::new().await;
        change(&mut setting);
        let err = setting.solve().await.unwrap_err();
        assert!(matches!(err, CallError::Row { .. }), "{err}");
        assert_eq!(err.to_string(), expected);
    }
}

#[tokio::test]
async fn a_model_that_nobody_can_open_is_no_failure_of_the_row() {
    let mut setting = Setting::new().await;
    setting.set("model", "model", Value::str("openai/gpt"));
    let err = setting.solve().await.unwrap_err();
    assert!(matches!(err, CallError::Infrastructure(_)), "{err}");
    assert_eq!(
        err.to_string(),
        "cannot open the model `openai/gpt`: no provider can open the model `openai/gpt`\n  help: \
         the known ones are: builtin/solver"
    );
}

#[tokio::test]
async fn a_sandbox_that_this_machine_lacks_is_the_machines_failure() {
    let mut setting = Setting::new().await;
    setting.set("sandbox", "sandbox", Value::str("moon"));
    let err = setting.solve().await.unwrap_err();
    assert!(matches!(err, CallError::Infrastructure(_)), "{err}");
    assert!(err.to_string().contains("there is no sandbox `moon` on this machine"), "{err}");
}

#[tokio::test]
async fn a_command_may_run_as_long_as_agent_and_sandbox_both_allow() {
    fn timed(_: &mut Files, command: &Command) -> Result<Outcome, SandboxError> {
        Ok(outcome(Exit::Code(0), format!("{} ms", command.timeout_ms)))
    }
    for (agent, sandbox, expected) in [(20_000, 5_000, 5_000), (3_000, 5_000, 3_000)] {
        let backend = FakeBackend { shell: Some(timed), ..FakeBackend::default() };
        let mut setting = Setting { backend: Arc::new(backend), ..Setting::new().await };
        setting.set("agent", "exec_time", Value::Int(agent));
        setting.set("sandbox", "time", Value::Int(sandbox));
        let row = setting.solve().await.unwrap();
        let Some(Value::File { digest, .. }) = row.get("trajectory") else { panic!() };
        let trajectory = Trajectory::decode(&setting.objects.get(digest).unwrap()).unwrap();
        let told =
            Message::Tool { tool_call_id: "call_3".to_string(), content: format!("{expected} ms") };
        assert!(trajectory.messages.contains(&told), "{:?}", trajectory.messages);
    }
}

#[tokio::test]
async fn claw_tools_checks_its_limits() {
    let objects = Arc::new(MemoryObjects::default());
    let quiet = Context::quiet(objects, Digest::of(b"agent"));
    let mut args = Args::default();
    args.0.insert("exec_time".to_string(), Value::Int(3_000));
    let agent = agent_operator("claw_tools").call(&args, &quiet).await.unwrap();
    assert_eq!(agent.get("agent"), Some(&Value::str("claw/2026.4")));
    assert_eq!(agent.get("max_steps"), Some(&Value::Int(12)));
    assert_eq!(agent.get("exec_time"), Some(&Value::Int(3_000)));
    args.0.insert("max_steps".to_string(), Value::Int(0));
    let err = agent_operator("claw_tools").call(&args, &quiet).await.unwrap_err();
    assert_eq!(err.to_string(), "`max_steps` must be at least 1, not 0");
}

/// An agent with the four tools that there were before `process` is the same value as then: it is a
/// part of the key, and so of the seed, of every rollout that was made with it.
#[tokio::test]
async fn an_agent_with_the_first_four_tools_is_the_value_that_it_always_was() {
    let objects = Arc::new(MemoryObjects::default());
    let quiet = Context::quiet(objects.clone(), Digest::of(b"agent"));
    let agent = |only: &[&str]| {
        let mut args = Args::default();
        args.0
            .insert("only".to_string(), Value::List(only.iter().map(|t| Value::str(*t)).collect()));
        args
    };
    let before = Value::record([
        ("agent", Value::str("claw/2026.4")),
        ("max_steps", Value::Int(12)),
        ("step_tokens", Value::Int(512)),
        ("context", Value::Int(131_072)),
        ("exec_time", Value::Int(20_000)),
        ("time", Value::Int(600_000)),
    ]);
    for order in [["read", "edit", "write", "exec"], ["exec", "write", "read", "edit"]] {
        assert_eq!(
            agent_operator("claw_tools").call(&agent(&order), &quiet).await.unwrap(),
            before
        );
    }
    let tools = AgentSettings::from_value(&before).unwrap().open(&*objects).unwrap();
    let offered = Value::from_json(&serde_json::to_value(tools.tools()).unwrap()).encode();
    // The digest of what models were told of these tools then.
    assert_eq!(Digest::of(&offered).to_string(), FOUR_TOOLS);

    let whole = agent_operator("claw_tools").call(&Args::default(), &quiet).await.unwrap();
    assert_ne!(whole, before);
    let tools = AgentSettings::from_value(&whole).unwrap().open(&*objects).unwrap();
    assert_eq!(tools.tools().len(), 5);
    let few = agent_operator("claw_tools").call(&agent(&["write", "read"]), &quiet).await.unwrap();
    let tools = AgentSettings::from_value(&few).unwrap().open(&*objects).unwrap();
    let names: Vec<&str> = tools.tools().iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["read", "write"]);

    for (only, expected) in [
        (
            &["read", "exce"][..],
            "`only` names the tool `exce`, which claw/2026.4 does not have\n  help: did you mean \
             `exec`? its tools are read, edit, write, exec, process",
        ),
        (&[], "`only` leaves no tool\n  help: choose among read, edit, write, exec, process"),
        (
            &["read", "process"],
            "`only` has `process` without `exec`, whose commands it looks after\n  help: name both or \
             neither",
        ),
    ] {
        let err = agent_operator("claw_tools").call(&agent(only), &quiet).await.unwrap_err();
        assert_eq!(err.to_string(), expected);
    }
}

const FOUR_TOOLS: &str = "14562e424f40c53e8ab6c4e6c91da94f5c446eedf2c72a6bc545d0ee2fbb7f6d";

#[tokio::test]
async fn sandbox_tools_have_the_limits_of_the_published_system() {
    let objects = Arc::new(MemoryObjects::default());
    let quiet = Context::quiet(objects, Digest::of(b"agent"));
    let agent = agent_operator("sandbox_tools").call(&Args::default(), &quiet).await.unwrap();
    for (name, usual) in [
        ("max_steps", 100),
        ("step_tokens", 65_536),
        ("context", 65_536),
        ("exec_time", 120_000),
        ("time", 5_400_000),
    ] {
        assert_eq!(agent.get(name), Some(&Value::Int(usual)), "{name}");
    }
    let named = |tools: bool, legacy: bool| {
        let mut args = Args::default();
        args.0.insert("tools".to_string(), Value::Bool(tools));
        args.0.insert("legacy".to_string(), Value::Bool(legacy));
        args
    };
    for (tools, legacy, name) in [
        (true, false, "sandbox/0.2"),
        (true, true, "sandbox/0.2-legacy"),
        (false, false, "sandbox/0.2-vanilla"),
    ] {
        let agent =
            agent_operator("sandbox_tools").call(&named(tools, legacy), &quiet).await.unwrap();
        assert_eq!(agent.get("agent"), Some(&Value::str(name)));
    }
    let err = agent_operator("sandbox_tools").call(&named(false, true), &quiet).await.unwrap_err();
    assert!(err.to_string().contains("leave one of the two out"), "{err}");
}
