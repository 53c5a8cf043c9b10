//! The image that a container is made of.
//!
//! An image is named by its content, `python:3.12-slim@sha256:…`, where the digest is the image's
//! id or the one that a registry gives it. What a command prints depends on the programs in the
//! image, so the image's name stands in the keys of results; a name that may mean another image
//! tomorrow would make them lie.

use bollard::Docker;

use super::super::SandboxError;
use super::engine::{broken, has_status, unavailable};

/// Hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// An image by its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pinned {
    /// What people call it; may be empty.
    name: String,
    /// `sha256:…`.
    digest: String,
}

/// An image that the engine has.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// What containers are made from.
    pub(super) id: String,
    /// Its own variables.
    pub(super) env: Vec<(String, String)>,
}

impl Pinned {
    /// Reads `NAME@sha256:DIGEST` or `sha256:DIGEST`.
    ///
    /// # Errors
    /// When the digest is missing or none, with how to find it.
    pub(super) fn parse(text: &str) -> Result<Pinned, SandboxError> {
        let (name, digest) = text.rsplit_once('@').unwrap_or(("", text));
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if hex.len() == DIGITS && hex.chars().all(is_hex) {
            return Ok(Pinned { name: name.to_string(), digest: digest.to_string() });
        }
        let name = if name.is_empty() { text } else { name };
        Err(unavailable(
            format!("the image `{text}` is not named by its content"),
            format!(
                "write image: \"{name}@sha256:…\" with what `docker image inspect --format \
                 '{{{{.Id}}}}' {name}` says"
            ),
        ))
    }

    /// Finds it on the engine.
    ///
    /// # Errors
    /// When it is not there, or its name means another one now, or it is for other machines.
    pub(super) async fn find(&self, docker: &Docker) -> Result<Image, SandboxError> {
        let Pinned { name, digest } = self;
        let mut names = vec![digest.clone()];
        if !name.is_empty() {
            names.push(format!("{name}@{digest}"));
        }
        for reference in &names {
            match docker.inspect_image(reference).await {
                Ok(found) => return self.read(found),
                Err(err) if has_status(&err, 404) => {}
                Err(err) => return Err(broken("asking for an image")(err)),
            }
        }
        let now = match docker.inspect_image(name).await {
            Ok(found) if !name.is_empty() => found.id,
            _ => None,
        };
        Err(match now {
            Some(now) => unavailable(
                format!("the image `{name}` is not {digest} here but {now}"),
                format!("get the one that is asked for, or write `{name}@{now}` to use this one"),
            ),
            None => unavailable(
                format!("the engine does not have the image `{name}@{digest}`"),
                format!("docker pull {name}@{digest}, or build it here"),
            ),
        })
    }

    fn read(&self, found: bollard::models::ImageInspect) -> Result<Image, SandboxError> {
        let ours = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let theirs = found.architecture.unwrap_or_default();
        if !theirs.is_empty() && theirs != ours {
            return Err(unavailable(
                format!("the image `{}` is for {theirs}, and this program for {ours}", self.name),
                format!("use the image's variant for {ours}"),
            ));
        }
        let env = found.config.and_then(|config| config.env).unwrap_or_default();
        let pair = |line: &String| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_string(), value.to_string()))
        };
        let id = found.id.unwrap_or_else(|| self.digest.clone());
        Ok(Image { id, env: env.iter().filter_map(pair).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_its_content() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let told = |text: &str| Pinned::parse(text).map(|image| (image.name, image.digest));
        assert_eq!(told(&digest).expect("fine"), (String::new(), digest.clone()));
        let named = format!("localhost:5000/a/b:1.2@{digest}");
        assert_eq!(told(&named).expect("fine"), ("localhost:5000/a/b:1.2".into(), digest.clone()));
        for bad in ["python:3.12", "python@sha256:12", "", &digest.to_uppercase(), "a@b"] {
            let err = told(bad).expect_err("a name that may mean anything").to_string();
            assert!(err.contains("docker image inspect --format '{{.Id}}'"), "{err}");
        }
    }
}
