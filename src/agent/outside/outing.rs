//! One episode of an agent from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{CallError, Cancel};
use crate::model::Model;
use crate::model::endpoint::{Endpoint, Over, Record, Session, Transcript};
use crate::sandbox::{Command, Exit, Outcome, Sandbox, SandboxError};
use crate::store::{Digest, KeyHasher, Objects};

use super::super::trajectory::{Ending, Trajectory};
use super::{Address, Installed, Outside, OutsideAgent, Placed};

/// The port of the endpoint inside a sandbox that has a network of its own.
const PORT: u16 = 7411;

/// The longest task that is handed over as a variable: Linux allows no longer ones.
const MAX_VARIABLE: usize = 100_000;

/// Characters of its output that a trajectory keeps.
const KEPT_OUTPUT: usize = 4_000;

/// How often it is looked whether the run is being stopped.
const GLANCE: Duration = Duration::from_millis(100);

/// How long putting one file in may take.
const PLACING_MS: u64 = 60_000;

/// Puts a file into the agent's own folder.
const PLACE: &str = r#"file="$HOME/agent/$1"
mkdir -p "$(dirname "$file")" && cat > "$file" && chmod "$2" "$file""#;

/// Starts the agent's command.
const START: &str = r#"export CLAW_AGENT="$HOME/agent" CLAW_TASK_FILE="$HOME/agent/.task"
exec sh -c "$1""#;

/// What an outing is about.
pub struct Outing<'a> {
    /// Who goes.
    pub agent: &'a OutsideAgent,
    /// Who answers it.
    pub model: Arc<dyn Model>,
    /// The model's name, for the trajectory and for the agent.
    pub model_name: String,
    /// The model's settings, for the trajectory.
    pub model_settings: serde_json::Value,
    /// The temperature that the program asks for; without it the agent's own wish counts.
    pub temperature: Option<f64>,
    /// What is asked of it.
    pub prompt: &'a str,
    /// The workspace that the sandbox was opened on.
    pub before: Digest,
    /// The only source of chance.
    pub seed: u64,
    /// Where the agent's own files are.
    pub objects: &'a dyn Objects,
    /// What is installed on this machine.
    pub installed: &'a [Installed],
    /// Wall time in milliseconds.
    pub time_ms: u64,
}

/// Lets the agent act in an open sandbox, which stays open. The trajectory's `after` and `refused` are
/// for the caller to fill in. With an ending that is the world's failure comes what went wrong. `None`
/// when it was cancelled.
pub async fn outing(
    outing: &Outing<'_>,
    sandbox: &mut dyn Sandbox,
    cancel: &Cancel,
) -> Option<(Trajectory, Option<CallError>)> {
    let session = Session::new(
        outing.model.clone(),
        outing.model_name.clone(),
        outing.temperature,
        outing.seed,
        outing.agent.allowance.clone(),
    );
    let acted = act(outing, sandbox, &session, cancel).await;
    if cancel.is_cancelled() {
        return None;
    }
    let record = session.record();
    let (ending, fault) = match &acted {
        Ok(outcome) => ending(outcome, &record),
        Err(fault) => (Ending::SandboxError, Some(fault.clone())),
    };
    Some((trajectory(outing, record, acted.ok(), ending), fault))
}

/// Puts the agent in, starts it, and waits for its end or for that of its session.
async fn act(
    outing: &Outing<'_>,
    sandbox: &mut dyn Sandbox,
    session: &Arc<Session>,
    cancel: &Cancel,
) -> Result<Outcome, CallError> {
    let broken = |err: SandboxError| CallError::Infrastructure(err.to_string());
    let listener = sandbox.listen(PORT).await.map_err(broken)?;
    let unheard = |err: std::io::Error| {
        CallError::Infrastructure(format!("serving the recording endpoint: {err}"))
    };
    let port = listener.local_addr().map_err(unheard)?.port();
    let url = format!("http://127.0.0.1:{port}/v1");
    let token = token(outing.seed);
    let address = Address { url: &url, token: &token };
    let endpoint = Endpoint::new();
    endpoint.open(&token, session.clone());
    let _serving = endpoint.serve(listener).map_err(unheard)?;

    let start = outing
        .agent
        .start(outing.prompt, &address, outing.installed, outing.objects)
        .map_err(CallError::Infrastructure)?;
    let task = Placed {
        path: ".task".to_string(),
        bytes: outing.prompt.as_bytes().to_vec(),
        executable: false,
    };
    for file in start.files.into_iter().chain([task]) {
        put(sandbox, file).await?;
    }
    let mut env: Vec<(String, String)> = [
        ("OPENAI_BASE_URL", url.as_str()),
        // The name that OpenAI's older clients know.
        ("OPENAI_API_BASE", url.as_str()),
        ("OPENAI_API_KEY", token.as_str()),
        ("CLAW_MODEL", outing.model_name.as_str()),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .into();
    if outing.prompt.len() <= MAX_VARIABLE && !outing.prompt.contains('\0') {
        env.push(("CLAW_TASK".to_string(), outing.prompt.to_string()));
    }
    env.extend(start.env);
    let command = Command {
        argv: ["sh", "-c", START, "sh", &start.line].map(str::to_string).to_vec(),
        workdir: None,
        env,
        stdin: Vec::new(),
        timeout_ms: outing.time_ms,
        report: false,
    };
    let stopped = async {
        while !cancel.is_cancelled() {
            tokio::time::sleep(GLANCE).await;
        }
    };
    let enough = Box::pin(async {
        tokio::select! {
            () = session.over() => {}
            () = stopped => {}
        }
    });
    sandbox.exec_until(&command, enough).await.map_err(broken)
}

/// Puts one file into the agent's own folder.
async fn put(sandbox: &mut dyn Sandbox, file: Placed) -> Result<(), CallError> {
    let mode = if file.executable { "755" } else { "644" };
    let command = Command {
        argv: ["sh", "-c", PLACE, "sh", &file.path, mode].map(str::to_string).to_vec(),
        workdir: None,
        env: Vec::new(),
        stdin: file.bytes,
        timeout_ms: PLACING_MS,
        report: false,
    };
    let outcome = sandbox.exec(&command).await;
    let outcome = outcome.map_err(|err| CallError::Infrastructure(err.to_string()))?;
    if outcome.exit == Exit::Code(0) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&outcome.output).into_owned();
    Err(CallError::Infrastructure(format!(
        "the agent's file {} could not be put into the sandbox: {said}",
        file.path
    )))
}

/// The token of a session. It is made from the call's key: an agent that shows it in what it says or
/// writes says and writes the same when the call is repeated. Nobody else reaches its endpoint.
fn token(seed: u64) -> String {
    let mut key = KeyHasher::new("claw session token 1");
    format!("claw-{}", key.number(seed).finish())
}

/// Why an episode is over, and what went wrong if that is not the agent's doing.
fn ending(outcome: &Outcome, record: &Record) -> (Ending, Option<CallError>) {
    match &record.over {
        Some(Over::Answers) => return (Ending::MaxSteps, None),
        Some(Over::Tokens) => return (Ending::MaxTokens, None),
        Some(Over::Unavailable(why)) => {
            return (Ending::ModelError, Some(CallError::Infrastructure(why.clone())));
        }
        Some(Over::Offline(why)) => {
            return (Ending::ModelError, Some(CallError::Offline(why.clone())));
        }
        Some(Over::Budget(over)) => return (Ending::ModelError, Some(CallError::Budget(*over))),
        None => {}
    }
    let said = || String::from_utf8_lossy(&outcome.output).into_owned();
    let failed =
        |message: String| (Ending::ModelError, Some(CallError::Row { message, output: said() }));
    if outcome.exit == Exit::TimedOut {
        return (Ending::Timeout, None);
    }
    if record.too_long {
        return (Ending::Context, None);
    }
    if let Some((why, output)) = &record.refused {
        let fault = CallError::Row { message: why.clone(), output: output.clone() };
        return (Ending::ModelError, Some(fault));
    }
    if record.usage.is_empty() {
        return failed(format!(
            "the agent ended with {} and had asked its model nothing\n  help: it must ask the endpoint \
             that OPENAI_BASE_URL names, with the key in OPENAI_API_KEY; `claw show --failed` has what it \
             printed",
            told(&outcome.exit)
        ));
    }
    if outcome.exit == Exit::Code(0) { (Ending::Answered, None) } else { (Ending::Failed, None) }
}

fn told(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::TimedOut => "its time".to_string(),
        Exit::OutOfMemory => "no memory left".to_string(),
    }
}

fn trajectory(
    outing: &Outing<'_>,
    record: Record,
    outcome: Option<Outcome>,
    ending: Ending,
) -> Trajectory {
    let mut branches = record.transcript.branches();
    let main = Transcript::main(&branches).map(|main| branches.remove(main));
    let (messages, tools, own, tokens) =
        main.map(|main| (main.messages, main.tools, main.own, main.tokens)).unwrap_or_default();
    let exit = outcome.as_ref().map(|outcome| told(&outcome.exit)).unwrap_or_default();
    let output = outcome.map(|outcome| tail(&outcome.output)).unwrap_or_default();
    let versions = BTreeMap::from([
        ("endpoint".to_string(), "1".to_string()),
        ("trajectory".to_string(), Trajectory::FORM.to_string()),
    ]);
    let ignored = record.ignored;
    Trajectory {
        contract: outing.agent.contract(),
        model: outing.model_name.clone(),
        settings: outing.model_settings.clone(),
        messages,
        errors: Vec::new(),
        usage: record.usage,
        ending,
        before: outing.before,
        after: None,
        refused: Vec::new(),
        versions,
        outside: Some(Outside { tools, own, tokens, branches, ignored, exit, output }),
    }
}

/// The end of an output, as text.
fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let skipped = text.chars().count().saturating_sub(KEPT_OUTPUT);
    text.chars().skip(skipped).collect()
}
