//! `claw doctor`: what this machine offers, and what to do about what it lacks.

use serde::Serialize;

use super::{Exit, Failure, arguments, print};
use crate::model::Script;
use crate::project::{ModelSettings, Project, ProviderName};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    ok: bool,
    detail: String,
    help: String,
}

/// Looks at everything and tells. Fails only when the default pipeline could not run.
pub(super) fn doctor(args: &arguments::Doctor) -> Result<Exit, Failure> {
    let mut findings: Vec<Finding> = crate::sandbox::probe()
        .into_iter()
        .map(|probe| Finding {
            name: probe.name.to_string(),
            ok: probe.ok,
            detail: probe.detail,
            help: probe.help,
        })
        .collect();
    findings.push(processor());
    findings.push(gpu());
    match Project::around(std::path::Path::new(".")) {
        Ok(project) => {
            let models = project.settings.models.iter();
            findings.extend(models.map(|(name, settings)| model(name, settings)));
        }
        Err(err) => findings.push(Finding {
            name: "claw.toml".to_string(),
            ok: false,
            detail: err.to_string(),
            help: String::new(),
        }),
    }
    let sandboxed = findings.iter().filter(|one| one.name == "process sandbox").all(|one| one.ok);
    if args.json {
        print::json(&findings);
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok " } else { "no " };
            print::line(&format!("{mark} {:<18} {}", finding.name, finding.detail));
            if !finding.ok && !finding.help.is_empty() {
                for line in finding.help.lines() {
                    print::line(&format!("     {:<18} help: {line}", ""));
                }
            }
        }
    }
    Ok(if sandboxed { Exit::Done } else { Exit::Failed })
}

fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[cfg(target_arch = "x86_64")]
    let kind = if std::arch::is_x86_feature_detected!("avx512f") {
        "AVX-512"
    } else if std::arch::is_x86_feature_detected!("avx2") {
        "AVX2"
    } else {
        "no AVX2: training will be slow"
    };
    #[cfg(not(target_arch = "x86_64"))]
    let kind = std::env::consts::ARCH;
    Finding {
        name: "processor".to_string(),
        ok: true,
        detail: format!("{cores} cores, {kind}"),
        help: String::new(),
    }
}

/// A model that the project names: where it is, and whether its key or its replies are there. It is
/// not asked anything.
fn model(name: &str, settings: &ModelSettings) -> Finding {
    let name = format!("model {name}");
    match (settings.provider, &settings.replies) {
        (ProviderName::Replay, _) => {
            let detail = "replayed: only answers that are recorded".to_string();
            return Finding { name, ok: true, detail, help: String::new() };
        }
        (ProviderName::Script, Some(replies)) => {
            let (ok, detail) = match Script::read(replies) {
                Ok(script) => {
                    (true, format!("{} replies in {}", script.count(), replies.display()))
                }
                Err(why) => (false, why),
            };
            let help = "a reply is a line of JSON, such as {\"when\": \"…\", \"text\": \"…\"}";
            return Finding { name, ok, detail, help: help.to_string() };
        }
        _ => {}
    }
    let is_set = |variable: &String| std::env::var_os(variable).is_some_and(|key| !key.is_empty());
    let (ok, key) = match &settings.key_env {
        None => (true, "without a key".to_string()),
        Some(variable) if is_set(variable) => (true, format!("{variable} is set")),
        Some(variable) => (false, format!("{variable} is not set")),
    };
    Finding {
        name,
        ok,
        detail: format!("{} at {}, {key}", settings.model, settings.endpoint),
        help: settings
            .key_env
            .as_ref()
            .map(|variable| format!("set {variable} to its key before a run that needs it"))
            .unwrap_or_default(),
    }
}

fn gpu() -> Finding {
    let asked = std::process::Command::new("nvidia-smi")
        .args(["--query-gpu=name,memory.total", "--format=csv,noheader"])
        .output();
    match asked {
        Ok(output) if output.status.success() => Finding {
            name: "gpu".into(),
            ok: true,
            detail: String::from_utf8_lossy(&output.stdout).trim().replace('\n', "; "),
            help: String::new(),
        },
        _ => Finding {
            name: "gpu".into(),
            ok: false,
            detail: "none seen by nvidia-smi".into(),
            help: "optional: small models train on the processor; large ones by an external \
                   trainer"
                .into(),
        },
    }
}
