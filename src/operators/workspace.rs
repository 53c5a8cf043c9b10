//! `workspace.mock`: the files that a task starts from, made from its family's templates.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::Value;
use crate::store::Objects;

use super::task::{Family, Library, field, params_of};

/// `workspace.mock`.
pub struct Mock {
    library: Arc<Library>,
}

impl Mock {
    /// Reads families through `library`, which other operators may share.
    pub fn new(library: Arc<Library>) -> Mock {
        Mock { library }
    }

    fn family(&self, args: &Args, objects: &dyn Objects) -> Result<Arc<Family>, CallError> {
        let name = field(args.get("task")?, "family")?;
        self.library.family(&args.dir("families")?, name, objects)
    }
}

impl Operator for Mock {
    fn about(&self) -> About {
        About { name: "workspace.mock", version: 1, kind: Kind::Pure, pool: Pool::Instant }
    }

    /// Of the families, only this family's file templates: parameters come with the task.
    fn reads(&self, args: &Args, objects: &dyn Objects) -> Result<Args, CallError> {
        let files = self.family(args, objects)?.workspace_digest;
        let mut narrow = args.clone();
        narrow.0.insert("families".to_string(), Value::str(files.to_string()));
        Ok(narrow)
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        async move {
            let family = self.family(args, &*context.objects)?;
            mock(&family, args.get("task")?, &*context.objects)
        }
        .boxed()
    }
}

/// Makes a task's files, as a `workspace.World` row.
///
/// # Errors
/// When a template of the family fails, or the store refuses.
pub fn mock(family: &Family, task: &Value, objects: &dyn Objects) -> Result<Value, CallError> {
    let files = family.files(&params_of(task)?, objects)?;
    Ok(Value::record([
        ("id", Value::str(field(task, "id")?)),
        ("task", task.clone()),
        ("files", Value::Dir(files)),
    ]))
}
