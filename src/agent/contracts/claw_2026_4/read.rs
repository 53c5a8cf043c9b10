//! `read`: a slice of a file, or as much of it as fits.
//!
//! Without `limit` a file is read page by page (2,000 lines or 50 KB, whichever comes first), up to
//! four pages or [`CallLimits::read_bytes`]; the last line then says with which `offset` to go on.

use serde_json::Value as Json;

use crate::agent::contract::{CallLimits, workspace_path};
use crate::sandbox::{FileError, Sandbox};

use super::{Arguments, Fault, path, system_fault};

const PAGE_LINES: usize = 2_000;
const PAGE_BYTES: usize = 50 << 10;
const PAGES: usize = 4;

pub(super) async fn read(
    sandbox: &mut dyn Sandbox,
    arguments: &Arguments,
    limits: &CallLimits,
) -> Result<String, Fault> {
    let path = path(arguments)?;
    let full = workspace_path(path);
    let bytes = sandbox.read(&full, limits.file_bytes).await.map_err(|err| {
        let folder = matches!(&err, FileError::System { code, .. } if code == "EISDIR");
        system_fault(err, &if folder { "read".to_string() } else { format!("access '{full}'") })
    })?;
    if let Some(kind) = image(&bytes) {
        return Ok(format!("Read image file [{kind}]"));
    }
    let text = String::from_utf8_lossy(&bytes);
    let file = File { path, lines: text.split('\n').collect() };
    let number = |name: &str| arguments.get(name).and_then(Json::as_f64);
    let offset = number("offset").filter(|offset| *offset >= 1.0).map_or(1, |o| o as usize);
    match number("limit") {
        Some(limit) if limit > 0.0 => Ok(file.page(offset, Some(limit as usize))?.text()),
        _ => file.pages(offset, limits.read_bytes),
    }
}

struct File<'a> {
    path: &'a str,
    lines: Vec<&'a str>,
}

struct Page {
    body: String,
    /// The line that says that there is more, with the blank line before it.
    notice: String,
    /// Where the next page starts, when this one was cut by size and another can follow.
    next: Option<usize>,
}

impl Page {
    fn text(self) -> String {
        self.body + &self.notice
    }
}

impl File<'_> {
    /// One page from line `offset` (counted from 1), at most `limit` lines of it.
    fn page(&self, offset: usize, limit: Option<usize>) -> Result<Page, Fault> {
        let total = self.lines.len();
        if offset > total {
            let what = format!("Offset {offset} is beyond end of file ({total} lines total)");
            return Err(Fault::Told(what));
        }
        let start = offset - 1;
        let end = limit.map_or(total, |limit| total.min(start.saturating_add(limit)));
        let asked = &self.lines[start..end];
        if asked[0].len() > PAGE_BYTES {
            let body = format!(
                "[Line {offset} is {}, exceeds {} limit. Use bash: sed -n '{offset}p' {} | head -c \
                 {PAGE_BYTES}]",
                size(asked[0].len()),
                size(PAGE_BYTES),
                self.path
            );
            return Ok(Page { body, notice: String::new(), next: None });
        }
        let (mut taken, mut bytes) = (0, 0);
        let mut full = false;
        for line in asked.iter().take(PAGE_LINES) {
            let more = line.len() + usize::from(taken > 0);
            full = bytes + more > PAGE_BYTES;
            if full {
                break;
            }
            bytes += more;
            taken += 1;
        }
        let body = asked[..taken].join("\n");
        let last = start + taken;
        let next = last + 1;
        if taken < asked.len() {
            let why = if full { format!(" ({} limit)", size(PAGE_BYTES)) } else { String::new() };
            let notice = format!(
                "\n\n[Showing lines {offset}-{last} of {total}{why}. Use offset={next} to continue.]"
            );
            return Ok(Page { body, notice, next: Some(next) });
        }
        let notice = match total - last {
            0 => String::new(),
            more => format!("\n\n[{more} more lines in file. Use offset={next} to continue.]"),
        };
        Ok(Page { body, notice, next: None })
    }

    /// Pages from line `offset` on, joined, until the file ends or `room` bytes are used. (The
    /// original joins pages by a blank line that is not in the file.)
    fn pages(&self, offset: usize, room: usize) -> Result<String, Fault> {
        let mut text = String::new();
        let mut at = offset;
        for number in 1..=PAGES {
            let page = self.page(at, None)?;
            let next = page.next.filter(|_| number < PAGES);
            let body = if next.is_some() { page.body } else { page.text() };
            let joint = if text.is_empty() { "" } else { "\n\n" };
            if !text.is_empty() && text.len() + joint.len() + body.len() > room {
                break;
            }
            text.push_str(joint);
            text.push_str(&body);
            match next {
                None => return Ok(text),
                Some(next) => at = next,
            }
            if text.len() >= room {
                break;
            }
        }
        let room = if room >= 1 << 20 { size(room) } else { format!("{}KB", (room + 512) >> 10) };
        text.push_str(&format!(
            "\n\n[Read output capped at {room} for this call. Use offset={at} to continue.]"
        ));
        Ok(text)
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_024 => format!("{bytes}B"),
        1_024..1_048_576 => format!("{:.1}KB", bytes as f64 / 1_024.0),
        _ => format!("{:.1}MB", bytes as f64 / 1_048_576.0),
    }
}

/// The kind of an image, by its first bytes. Models here see text alone, so they are told the kind.
fn image(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}
