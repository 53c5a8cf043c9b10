//! What a program may read: regular files of its own project.

use crate::project::Project;

/// Reads `path` by `how` with every command; each says why it cannot, and none waits for ever.
#[track_caller]
fn unread(project: &Project, how: &str, why: &str) {
    project.write("main.claw", &format!("stage a = [{{ f: {how} }}]\noutput a\n"));
    for command in ["check", "plan", "run"] {
        let mut child = project
            .command(&[command, "main.claw"])
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let start = std::time::Instant::now();
        while child.try_wait().unwrap().is_none() {
            if start.elapsed() > std::time::Duration::from_secs(120) {
                child.kill().unwrap();
                panic!("claw {command} hangs on {how}");
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("E0501") && said.contains(why), "{command}: {said}");
    }
}

#[test]
fn only_regular_files_of_the_project_are_read() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.txt"), "secret").unwrap();
    let project = Project::new();
    let made = std::process::Command::new("mkfifo").arg(project.path("pipe")).status().unwrap();
    assert!(made.success());
    symlink("/dev/zero", project.path("zero")).unwrap();
    symlink(outside.path().join("secret.txt"), project.path("link.txt")).unwrap();
    symlink(outside.path(), project.path("linked")).unwrap();
    unread(&project, "file(\"pipe\")", "it is a named pipe");
    unread(&project, "file(\"zero\")", "leads out of the project");
    unread(&project, "file(\"link.txt\")", "leads out of the project");
    unread(&project, "file(\"linked/secret.txt\")", "leads out of the project");
    unread(&project, "dir(\"linked\")", "leads out of the project");
    // Links inside of the project are as good as what they lead to.
    project.write("real/word.txt", "word");
    symlink("real/word.txt", project.path("word.txt")).unwrap();
    symlink("real", project.path("words")).unwrap();
    project.write(
        "main.claw",
        "stage a = [{ f: file(\"word.txt\"), g: file(\"words/word.txt\"), d: dir(\"words\") }]\n\
         output a\n",
    );
    project.ok(&["run", "main.claw"]);
}
