//! This program, put where containers can start it: in a volume of the engine.
//!
//! The init of a container is this very program, whatever the image is made of: the libraries that
//! it is linked with, and the loader that finds them, travel along. The volume is named after the
//! digest of all that, is filled once per engine, and every container mounts it read-only:
//!
//! ```text
//! /claw/claw     the program
//! /claw/ld.so    its loader, and
//! /claw/lib/     its libraries, when it has any
//! /claw/done     written last
//! ```
//!
//! So it works with engines on other machines too. `docker volume prune` may remove it whenever no
//! container uses it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, VolumeCreateRequest};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, CreateContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};

use super::super::SandboxError;
use super::engine::{broken, has_status, told, unavailable};
use super::inside::CONTAINER_ARGUMENT;
use super::owner::{self, Part};

/// Where the volume stands in a container.
const PLACE: &str = "/claw";
/// How long another process may take to fill the volume.
const PATIENCE: Duration = Duration::from_secs(180);

/// A program in a volume.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// The mount, for containers: `volume:/claw:ro`.
    pub(super) bind: String,
    /// What a container starts with.
    pub(super) argv: Vec<String>,
}

/// The files of the volume, by their paths in it.
struct Parts {
    files: Vec<(String, PathBuf)>,
    linked: bool,
}

impl Program {
    /// Makes sure that the engine has the program at `path`. `image` is any image that it has.
    ///
    /// # Errors
    /// When the program or a library cannot be read, or the engine refuses.
    pub(super) async fn install(
        docker: &Docker,
        path: &Path,
        image: &str,
    ) -> Result<Program, SandboxError> {
        let unreadable = |err: io::Error| {
            unavailable(
                format!("{} cannot be read for containers: {err}", path.display()),
                "is it the program itself, and may this user read it?",
            )
        };
        let owned = path.to_path_buf();
        let digested = tokio::task::spawn_blocking(move || {
            let parts = Parts::of(&owned)?;
            let digest = parts.digest()?;
            Ok((parts, digest))
        });
        let digested = digested.await.map_err(|err| SandboxError::Broken(err.to_string()))?;
        let (parts, digest) = digested.map_err(unreadable)?;
        let name = format!("claw-{digest}");
        let volume = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some([(owner::PART.to_string(), "program".to_string())].into()),
            ..VolumeCreateRequest::default()
        };
        docker.create_volume(volume).await.map_err(broken("making a volume"))?;

        let argv = if parts.linked {
            vec![
                format!("{PLACE}/ld.so"),
                "--library-path".to_string(),
                format!("{PLACE}/lib"),
                format!("{PLACE}/claw"),
            ]
        } else {
            vec![format!("{PLACE}/claw")]
        };
        let argv = argv.into_iter().chain([CONTAINER_ARGUMENT.to_string()]).collect();
        let loader = Loader { docker, name: format!("claw-loader-{digest}") };
        loader.stand(&name, image).await?;
        let filled = loader.fill(parts).await;
        // Whatever happened, it must not stand in the way of the next one.
        owner::remove(docker, &loader.name).await;
        filled?;
        Ok(Program { bind: format!("{name}:{PLACE}:ro"), argv })
    }
}

/// A container that never runs, through which the volume is filled. Its name is a lock: there can
/// be only one.
struct Loader<'a> {
    docker: &'a Docker,
    name: String,
}

impl Loader<'_> {
    async fn stand(&self, volume: &str, image: &str) -> Result<(), SandboxError> {
        let begun = Instant::now();
        loop {
            let options = CreateContainerOptionsBuilder::default().name(&self.name).build();
            let body = ContainerCreateBody {
                image: Some(image.to_string()),
                cmd: Some(vec![PLACE.to_string()]),
                labels: Some(owner::labels(Part::Loader)),
                host_config: Some(HostConfig {
                    binds: Some(vec![format!("{volume}:{PLACE}")]),
                    network_mode: Some("none".to_string()),
                    ..HostConfig::default()
                }),
                ..ContainerCreateBody::default()
            };
            match self.docker.create_container(Some(options), body).await {
                Ok(_) => return Ok(()),
                Err(err) if has_status(&err, 409) || told(&err).contains("already in use") => {
                    if begun.elapsed() > PATIENCE {
                        return Err(unavailable(
                            format!("the container {} has been in the way for too long", self.name),
                            format!("docker rm -f {}", self.name),
                        ));
                    }
                    owner::remove_leftovers(self.docker).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(err) => return Err(broken("making a container")(err)),
            }
        }
    }

    async fn fill(&self, parts: Parts) -> Result<(), SandboxError> {
        let done = format!("{PLACE}/done");
        let ask = ContainerArchiveInfoOptionsBuilder::default().path(&done).build();
        if self.docker.get_container_archive_info(&self.name, Some(ask)).await.is_ok() {
            return Ok(());
        }
        let archived = tokio::task::spawn_blocking(move || parts.archive()).await;
        let archive = archived
            .map_err(io::Error::other)
            .flatten()
            .map_err(|err| SandboxError::Broken(format!("reading the program: {err}")))?;
        let options = UploadToContainerOptionsBuilder::default().path(PLACE).build();
        let upload = bollard::body_full(archive.into());
        let put = self.docker.upload_to_container(&self.name, Some(options), upload).await;
        put.map_err(broken("putting the program into a volume"))
    }
}

impl Parts {
    fn of(program: &Path) -> io::Result<Parts> {
        let libraries = linked_with(program)?;
        let linked = !libraries.is_empty();
        let mut files = vec![("claw".to_string(), program.to_path_buf())];
        for path in libraries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("ld-") {
                files.push(("ld.so".to_string(), path.clone()));
            }
            files.push((format!("lib/{name}"), path));
        }
        Ok(Parts { files, linked })
    }

    /// The digest of all of it, shortened to what a name needs.
    fn digest(&self) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        let mut chunk = vec![0; 1 << 20];
        for (name, path) in &self.files {
            let mut file = std::fs::File::open(path)?;
            hasher.update(name.as_bytes());
            hasher.update(&file.metadata()?.len().to_le_bytes());
            loop {
                match file.read(&mut chunk)? {
                    0 => break,
                    count => hasher.update(&chunk[..count]),
                };
            }
        }
        Ok(hasher.finalize().to_hex()[..24].to_string())
    }

    fn archive(&self) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut put = |name: &str, mut content: &mut dyn Read, size: u64| {
            let mut header = tar::Header::new_gnu();
            header.set_size(size);
            header.set_mode(0o755);
            archive.append_data(&mut header, name, &mut content)
        };
        for (name, path) in &self.files {
            let mut file = std::fs::File::open(path)?;
            let size = file.metadata()?.len();
            put(name, &mut file, size)?;
        }
        put("done", &mut io::empty(), 0)?;
        archive.into_inner()
    }
}

/// The libraries that a program is linked with, as its own loader finds them, and the loader. None
/// for a program that needs none.
fn linked_with(program: &Path) -> io::Result<Vec<PathBuf>> {
    // The loader of the GNU C library only lists them when it sees this variable.
    let listed = std::process::Command::new(program)
        .arg("--version")
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(listed.lines().filter_map(library).collect())
}

/// The file that a line of such a list names: `libc.so.6 => /lib/libc.so.6 (0x…)`.
fn library(line: &str) -> Option<PathBuf> {
    let path = line.trim().rsplit_once(" (0x")?.0;
    let path = path.rsplit_once(" => ").map_or(path, |(_, path)| path);
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_loaders_list() {
        let told = |line: &str| library(line).map(|path| path.display().to_string());
        assert_eq!(told("\tlinux-vdso.so.1 (0x00007f810df50000)"), None);
        let libc = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f810961e000)";
        assert_eq!(told(libc).as_deref(), Some("/lib/x86_64-linux-gnu/libc.so.6"));
        let loader = "\t/lib64/ld-linux-x86-64.so.2 (0x00007f810df52000)";
        assert_eq!(told(loader).as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(told("claw 0.1.0"), None);
    }
}
