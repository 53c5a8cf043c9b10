//! A sandbox that is only a folder: for trusted solutions and checkers, where no other is at hand.

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use claw::sandbox::{
    Backend, Closed, Command, Exit, FileError, Limits, Outcome, Sandbox, SandboxError, WORKSPACE,
};
use claw::store::{Objects, Tree};
use futures::FutureExt;
use futures::future::BoxFuture;
use tempfile::TempDir;

pub(super) struct FolderBackend;

struct Folder {
    root: TempDir,
}

fn broken(err: impl std::fmt::Display) -> SandboxError {
    SandboxError::Broken(err.to_string())
}

impl Backend for FolderBackend {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn open<'a>(
        &'a self,
        workspace: &'a Tree,
        objects: &'a dyn Objects,
        _: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        async move {
            let folder = Folder { root: TempDir::new().map_err(broken)? };
            for inner in ["tmp", "workspace"] {
                std::fs::create_dir(folder.root.path().join(inner)).map_err(broken)?;
            }
            for (path, digest) in workspace.files() {
                folder.put(path, &objects.get(digest).map_err(broken)?).map_err(broken)?;
            }
            Ok(Box::new(folder) as Box<dyn Sandbox>)
        }
        .boxed()
    }
}

impl Folder {
    fn at(&self, path: &str) -> PathBuf {
        match path.strip_prefix('/') {
            Some(inside) => self.root.path().join(inside),
            None => self.root.path().join("workspace").join(path),
        }
    }

    fn put(&self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        let at = self.at(path);
        at.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(at, bytes)
    }

    fn run(&self, command: &Command) -> std::io::Result<Outcome> {
        let report = self.root.path().join("report");
        let output = self.root.path().join("output");
        let workdir = command.workdir.as_deref().unwrap_or(WORKSPACE);
        let line = format!("exec \"$@\" 3>{} >{} 2>&1", report.display(), output.display());
        let mut process = Process::new("/bin/sh");
        process.args(["-c", &line, "sh"]).env_clear().env("PATH", "/usr/bin:/bin");
        for word in &command.argv {
            // Only here, where nothing is mounted, do the sandbox's paths have to be moved.
            let inside = word.starts_with("/tmp/") || word.starts_with(WORKSPACE);
            process.arg(if inside { self.at(word) } else { PathBuf::from(word) });
        }
        let status = process.current_dir(self.at(workdir)).stdin(Stdio::null()).status()?;
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        let exit = status.code().map_or(Exit::Signal(9), Exit::Code);
        Ok(Outcome { exit, output: read(&output), dropped: 0, report: read(&report) })
    }
}

impl Sandbox for Folder {
    fn exec_until<'a>(
        &'a mut self,
        command: &'a Command,
        _enough: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<Outcome, SandboxError>> {
        async move { self.run(command).map_err(broken) }.boxed()
    }

    fn read<'a>(
        &'a mut self,
        path: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FileError>> {
        async move {
            let mut bytes = std::fs::read(self.at(path)).map_err(|err| FileError::System {
                code: "ENOENT".to_string(),
                message: err.to_string(),
            })?;
            bytes.truncate(limit);
            Ok(bytes)
        }
        .boxed()
    }

    fn write<'a>(
        &'a mut self,
        path: &'a str,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<(), FileError>> {
        async move { self.put(path, bytes).map_err(|err| FileError::Sandbox(broken(err))) }.boxed()
    }

    fn close<'a>(
        self: Box<Self>,
        objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>> {
        async move {
            let root = self.root.path().join("workspace");
            let mut files = Vec::new();
            super::stdlib::collect(&root, &root, &mut files);
            let workspace = objects.put_files(&files).map_err(broken)?;
            let workspace = objects.tree(&workspace).map_err(broken)?;
            Ok(Closed { workspace, refused: Vec::new() })
        }
        .boxed()
    }
}
