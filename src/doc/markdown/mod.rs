//! Markdown to HTML, as much of it as documentation needs: paragraphs, headings, lists, quotes,
//! tables, blocks of code, and in lines code, emphasis and links.
//!
//! Everything that is not such a form is text and is escaped: there is no HTML in documentation.
//! A link goes to `http(s)://…`, to a page beside this one or to a heading, nowhere else. `[name]`
//! and names in backticks become links where the page knows them.

mod blocks;
mod inline;

/// What a page knows when it shows documentation.
pub(super) struct Context<'p> {
    /// The address of a name such as `persona.imagine`, if it has a page.
    pub(super) find: &'p dyn Fn(&str) -> Option<String>,
    /// The address of a relative link as it was written, `None` when the page has nothing for it.
    pub(super) address: &'p dyn Fn(&str) -> Option<String>,
    /// How many levels headings are moved down, so that they fit under those of the page.
    pub(super) deeper: usize,
    /// Whether headings are places that a link can lead to. Names on the page are places too, so
    /// this is for pages of text alone.
    pub(super) anchors: bool,
    /// Whether there may be links: there are none in a link's own text.
    pub(super) links: bool,
}

/// A heading, for a table of contents.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Heading {
    /// From 1, as written.
    pub(super) level: usize,
    /// Its text, without marks.
    pub(super) text: String,
    /// Its place on the page.
    pub(super) id: String,
}

/// Markdown as HTML, and its headings.
pub(super) fn html(text: &str, context: &Context<'_>) -> (String, Vec<Heading>) {
    let lines: Vec<&str> = text.lines().collect();
    let mut writer = blocks::Writer::new(context);
    writer.blocks(&lines, 0);
    writer.finish()
}

/// One line of Markdown as HTML without a paragraph around it.
pub(super) fn line(text: &str, context: &Context<'_>) -> String {
    inline::html(text, context, 0)
}

/// The first paragraph, on one line; empty when the text starts with something else.
pub(super) fn summary(text: &str) -> String {
    let lines = text.lines().map(str::trim).skip_while(|line| line.is_empty());
    let first: Vec<&str> = lines
        .take_while(|line| !line.is_empty() && !line.starts_with("```") && !line.starts_with('#'))
        .collect();
    first.join(" ")
}

/// Markdown without its marks, for searching.
pub(super) fn plain(text: &str) -> String {
    text.replace(['`', '*', '[', ']'], "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text that can stand in HTML, in attributes too.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML has no place for control characters, not even escaped.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let find = |name: &str| match name {
            "imagine" | "persona.imagine" => Some("p.html#imagine".to_string()),
            _ => None,
        };
        let address = |to: &str| (to == "errors").then(|| "../errors.html".to_string());
        let context =
            Context { find: &find, address: &address, deeper: 1, anchors: true, links: true };
        html(text, &context).0
    }

    #[test]
    fn forms_of_text() {
        let cases = [
            ("a\nb\n\nc", "<p>a\nb</p>\n<p>c</p>\n"),
            ("# A `b`", "<h2 id=\"a-b\">A <code>b</code></h2>\n"),
            ("- a\n- b\n  c\n", "<ul>\n<li>a</li>\n<li>b\nc</li>\n</ul>\n"),
            ("1. a\n2. b", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>\n"),
            ("- a\n  - b\n", "<ul>\n<li>a\n<ul>\n<li>b</li>\n</ul>\n</li>\n</ul>\n"),
            ("> a\n> b", "<blockquote>\n<p>a\nb</p>\n</blockquote>\n"),
            ("*a* **b** a*b*c_d_", "<p><em>a</em> <strong>b</strong> a*b*c_d_</p>\n"),
            (
                "`imagine` `a<b`",
                "<p><a href=\"p.html#imagine\"><code>imagine</code></a> <code>a&lt;b</code></p>\n",
            ),
            (
                "[persona.imagine] [x]",
                "<p><a href=\"p.html#imagine\"><code>persona.imagine</code></a> [x]</p>\n",
            ),
            (
                "[a](https://x.y/?a&b) [b](errors)",
                "<p><a href=\"https://x.y/?a&amp;b\">a</a> <a href=\"../errors.html\">b</a></p>\n",
            ),
            ("[a](javascript:alert(1)) <b>", "<p>[a](javascript:alert(1)) &lt;b&gt;</p>\n"),
            ("a \\* b * c", "<p>a * b * c</p>\n"),
            ("### A\n\n### B", "<h2 id=\"a\">A</h2>\n<h2 id=\"b\">B</h2>\n"),
            ("[a](other.md)", "<p>a</p>\n"),
            ("[`imagine`](https://x)", "<p><a href=\"https://x\"><code>imagine</code></a></p>\n"),
            ("[<https://y>](https://x)", "<p><a href=\"https://x\">https://y</a></p>\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
        let table = shown("| a | b |\n|---|--:|\n| `x\\|y` | 1 |\n");
        assert!(table.contains("<th class=\"end\">b</th>"), "{table}");
        assert!(table.contains("<td><code>x|y</code></td>"), "{table}");
    }

    #[test]
    fn hostile_text_costs_little() {
        for text in
            ["[".repeat(200_000), "*a ".repeat(100_000), "> ".repeat(100_000), "`".repeat(100_001)]
        {
            assert!(!shown(&text).is_empty());
        }
    }
}
