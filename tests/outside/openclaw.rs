//! The real OpenClaw. `CLAW_TEST_OPENCLAW` names a directory in which it is installed (not below /tmp,
//! which sandboxes have for themselves); without it the test says so and passes.

use serde_json::{Value as Json, json};

use crate::project::Project;

use super::blackbox::{program, rows};

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn the_real_openclaw_solves_a_task_and_its_run_is_kept() {
    if !crate::sandbox::works() {
        return;
    }
    let Some(folder) = std::env::var_os("CLAW_TEST_OPENCLAW").map(std::path::PathBuf::from) else {
        eprintln!(
            "SKIPPED: OpenClaw is not installed here; CLAW_TEST_OPENCLAW names its directory"
        );
        return;
    };
    let about = std::fs::read_to_string(folder.join("node_modules/openclaw/package.json"));
    let about: Json = serde_json::from_str(&about.expect("the package")).expect("JSON");
    let version = about["version"].as_str().expect("a version");
    let project = Project::new();
    project.write("claw.toml", &format!("[agents.openclaw]\npath = \"{}\"\n", folder.display()));
    let agent = format!("rollout.openclaw(version: \"{version}\", max_steps: 40)");
    let room = "memory: 4GiB, disk: 512MiB, time: 9m";
    project.write("main.claw", &program(&agent, "model(\"builtin/solver\")", 1, room));
    project.ok(&["run", "main.claw", "--quiet"]);
    let grade = &rows(&project, "grades.jsonl")[0];
    let shown = project.ok(&["show", "grades", "--row", "0"]);
    assert_eq!(grade["reward"], json!(1.0), "{shown}");
    assert_eq!(grade["run"]["ending"], json!("answered"), "{shown}");
    assert!(shown.contains(&format!("openclaw/{version} ended with code 0")), "{shown}");
    for part in ["1.000 (passed)", "calls ", "result:", "workspace after (what changed)", "\n+ "] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // The version is a promise about what is installed.
    project.write(
        "main.claw",
        &program(&agent.replace(version, "2025.1.1"), "model(\"builtin/solver\")", 1, room),
    );
    let output = project.claw(&["run", "main.claw", "--quiet"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("OpenClaw 2025.1.1 is asked for") && said.contains(version), "{said}");
}
