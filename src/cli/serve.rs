//! `claw serve`: a model of the project behind an endpoint that keeps what is said.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{Exit, Failure, load, print};
use crate::engine::{Budget, Context};
use crate::lang::Value;
use crate::model::Configured;
use crate::model::endpoint::{Allowance, Branch, Endpoint, Session};
use crate::project::Project;
use crate::store::{Digest, MemoryObjects};

/// What may be typed.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The model, as [models.NAME] in claw.toml names it
    model: String,

    /// The port on 127.0.0.1; 0 takes any that is free
    #[arg(long, default_value_t = 7411)]
    port: u16,

    /// How many sessions; each has a key of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    sessions: u32,

    /// Answers of one session at most
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    answers: u64,

    /// Tokens of one answer at most
    #[arg(long, value_name = "N", default_value_t = 4_096)]
    answer_tokens: u32,

    /// Tokens that one session may read and write
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,

    /// Dollars that all sessions may spend together; the model must have `prices`
    #[arg(long, value_name = "DOLLARS")]
    budget: Option<f64>,

    /// Where the conversations are added when it ends, one a line
    #[arg(long, value_name = "FILE", default_value = "conversations.jsonl")]
    record: PathBuf,
}

/// A line of the record.
#[derive(Serialize)]
struct Line {
    /// Which session, from 1.
    session: usize,
    model: String,
    #[serde(flatten)]
    branch: Branch,
}

/// Serves until Ctrl-C, and then writes what was said.
pub(super) fn serve(args: &Serve) -> Result<Exit, Failure> {
    let project = Project::around(std::path::Path::new("."))?;
    let Some(settings) = project.settings.models.get(&args.model) else {
        let names: Vec<&str> = project.settings.models.keys().map(String::as_str).collect();
        return Err(Failure::input(load::unknown("model", &args.model, &names)));
    };
    let budget = match args.budget {
        Some(dollars) if (0.0..=1e9).contains(&dollars) => {
            Some(Arc::new(Budget::new((dollars * 1e6) as i64)))
        }
        Some(_) => return Err(Failure::input("`--budget` is an amount of dollars, such as 2.50")),
        None => None,
    };
    let mut record = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&args.record)
        .map_err(|err| Failure::input(format!("{}: {err}", args.record.display())))?;
    let served = Configured::new(&args.model, settings);
    let endpoint = Endpoint::new();
    let mut sessions = Vec::new();
    for _ in 0..args.sessions {
        let secret = chance()?;
        let mut context = Context::quiet(Arc::new(MemoryObjects::default()), secret);
        context.budget = budget.clone();
        let model = served
            .open(&Value::str(args.model.as_str()), &context)
            .map_err(|err| Failure::work(err.to_string()))?;
        let allowance = Allowance {
            answers: args.answers,
            answer_tokens: args.answer_tokens,
            context: u64::MAX,
            tokens: args.tokens,
        };
        let session = Session::new(model, args.model.as_str(), None, secret.seed(), allowance);
        let key = format!("claw-{secret}");
        endpoint.open(&key, session.clone());
        sessions.push((key, session));
    }
    let lost = |err: std::io::Error| {
        Failure::work(format!(
            "serving on port {}: {err}\n  help: `--port 0` takes one that is free",
            args.port
        ))
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).map_err(lost)?;
    let port = listener.local_addr().map_err(lost)?.port();
    let runtime = tokio::runtime::Runtime::new().map_err(lost)?;
    runtime
        .block_on(async {
            let mut ended =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            let _serving = endpoint.serve(listener)?;
            print::out(&format!("export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1\n"));
            for (key, _) in &sessions {
                print::out(&format!("export OPENAI_API_KEY={key}\n"));
            }
            print::err("Ctrl-C ends it and writes what was said.\n");
            tokio::select! {
                pressed = tokio::signal::ctrl_c() => pressed,
                _ = ended.recv() => Ok(()),
            }
        })
        .map_err(lost)?;

    let unwritten =
        |err: std::io::Error| Failure::work(format!("writing {}: {err}", args.record.display()));
    let mut count = 0;
    for (number, (_, session)) in (1..).zip(&sessions) {
        for branch in session.record().transcript.branches() {
            let line = Line { session: number, model: args.model.clone(), branch };
            let text = serde_json::to_string(&line).map_err(|err| unwritten(err.into()))?;
            writeln!(record, "{text}").map_err(unwritten)?;
            count += 1;
        }
    }
    record.sync_all().map_err(unwritten)?;
    print::err(&format!("{count} conversations written to {}\n", args.record.display()));
    Ok(Exit::Done)
}

/// A number that nobody guesses.
fn chance() -> Result<Digest, Failure> {
    use std::io::Read;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|err| Failure::work(format!("reading /dev/urandom: {err}")))?;
    Ok(Digest::of(&bytes))
}
