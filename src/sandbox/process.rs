//! The `process` backend, as the program sees it.
//!
//! Every sandbox is a socket to its init and a pidfd to kill it with. All waiting is asynchronous:
//! a thousand idle sandboxes cost no thread here.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::cgroup::Cgroup;
use super::defence::{Defence, Without};
use super::launch::Helper;
use super::session::ProcessSandbox;
use super::workspace::verify;
use super::{Backend, Limits, Sandbox, SandboxError};
use crate::store::{Objects, Tree};

/// Opens sandboxes made of Linux namespaces. The helper process starts with the first of them.
pub struct ProcessBackend {
    helper: PathBuf,
    shown: Vec<PathBuf>,
    counted: bool,
    without: Without,
    running: Mutex<Option<Arc<Helper>>>,
}

impl ProcessBackend {
    /// A backend whose helper is the program at `helper`, started with [`HELPER_ARGUMENT`].
    pub fn new(helper: impl Into<PathBuf>) -> ProcessBackend {
        ProcessBackend {
            helper: helper.into(),
            shown: Vec::new(),
            counted: true,
            without: Without::new(),
            running: Mutex::new(None),
        }
    }

    /// A backend whose helper is this very program, even when its file has been replaced by a
    /// newer one since it was started.
    ///
    /// # Errors
    /// When the system does not say where this program's file is.
    pub fn current() -> Result<ProcessBackend, SandboxError> {
        const OWN: &str = "/proc/self/exe";
        match std::fs::read_link(OWN) {
            Ok(_) => Ok(ProcessBackend::new(OWN)),
            Err(err) => Err(SandboxError::Unavailable {
                what: format!("the program cannot find its own file: {OWN}: {err}"),
                help: "mount /proc".to_string(),
            }),
        }
    }

    /// Also shows the directory at `path` to all sandboxes, read-only, under its own path.
    #[must_use]
    pub fn show(mut self, path: impl Into<PathBuf>) -> ProcessBackend {
        self.shown.push(path.into());
        self
    }

    /// Uses no control groups even where the machine has them: the init of a sandbox watches its
    /// memory then, as it does for users who may not make control groups.
    #[must_use]
    pub fn without_cgroups(mut self) -> ProcessBackend {
        self.counted = false;
        self
    }

    /// Takes a defence away: for tests, which show that it is needed.
    #[doc(hidden)]
    #[must_use]
    pub fn without(mut self, defence: Defence) -> ProcessBackend {
        self.without.insert(defence);
        // A helper that runs already has them all.
        self.running = Mutex::new(None);
        // Without a control group the init watches, and that is what can be switched off.
        self.counted &= defence != Defence::Memory;
        self
    }

    /// The running helper; starts it when there is none, or when it has died.
    async fn helper(&self) -> Result<Arc<Helper>, SandboxError> {
        let mut running = self.running.lock().await;
        if let Some(helper) = running.as_ref().filter(|helper| helper.is_alive()) {
            return Ok(Arc::clone(helper));
        }
        let (program, shown, counted) = (self.helper.clone(), self.shown.clone(), self.counted);
        let without = self.without.clone();
        let start = move || Helper::start(&program, shown, counted, &without);
        let started = tokio::task::spawn_blocking(start);
        let helper = started.await.map_err(|err| SandboxError::Broken(err.to_string()))??;
        Ok(Arc::clone(running.insert(Arc::new(helper))))
    }

    async fn open_with(
        &self,
        tree: &Tree,
        objects: &dyn Objects,
        limits: &Limits,
    ) -> Result<ProcessSandbox, SandboxError> {
        verify(tree, limits).map_err(SandboxError::Workspace)?;
        let helper = self.helper().await?;
        let cgroup =
            match &helper.cgroups {
                Some(all) => Some(Cgroup::new(all, limits, tree.size()).map_err(|err| {
                    SandboxError::Broken(format!("making a control group: {err}"))
                })?),
                None => None,
            };
        let control = helper.order(limits, cgroup.as_ref()).await?;
        ProcessSandbox::begin(control, limits.clone(), tree, objects, cgroup, helper).await
    }
}

impl Backend for ProcessBackend {
    fn name(&self) -> &'static str {
        "process"
    }

    fn open<'a>(
        &'a self,
        workspace: &'a Tree,
        objects: &'a dyn Objects,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(async move {
            let sandbox = self.open_with(workspace, objects, limits).await?;
            Ok(Box::new(sandbox) as Box<dyn Sandbox>)
        })
    }
}
