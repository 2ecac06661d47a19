//! The Markdown of the differences as HTML.

use super::shown::escape;

/// Markdown within a line as HTML: code, `**`, and links into the Web. Links
/// within the repository lead nowhere from a page, so only their text is left.
pub fn inline(markdown: &str) -> String {
    let (mut out, mut rest) = (String::new(), markdown);
    while let Some(c) = rest.chars().next() {
        let (html, length) = code(rest)
            .or_else(|| bold(rest))
            .or_else(|| link(rest))
            .unwrap_or_else(|| (escape(&rest[..c.len_utf8()]), c.len_utf8()));
        out += &html;
        rest = &rest[length..];
    }
    out
}

// Each gives the HTML and how much of the Markdown it stands for.

fn code(text: &str) -> Option<(String, usize)> {
    let (inner, _) = text.strip_prefix('`')?.split_once('`')?;
    let html = format!("<code>{}</code>", escape(inner));
    Some((html, inner.len() + 2))
}

fn bold(text: &str) -> Option<(String, usize)> {
    let (inner, _) = text.strip_prefix("**")?.split_once("**")?;
    let html = format!("<strong>{}</strong>", inline(inner));
    Some((html, inner.len() + 4))
}

fn link(text: &str) -> Option<(String, usize)> {
    let (label, after) = text.strip_prefix('[')?.split_once("](")?;
    let (target, _) = after.split_once(')')?;
    let html = if target.starts_with("https://") {
        format!("<a href=\"{}\">{}</a>", escape(target), inline(label))
    } else {
        inline(label)
    };
    Some((html, label.len() + target.len() + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_html() {
        assert_eq!(
            inline("`a<b` and **c `d`** [e](#f) [g](https://h/?i&j) 2 * 3 [k] < `"),
            "<code>a&lt;b</code> and <strong>c <code>d</code></strong> e \
             <a href=\"https://h/?i&amp;j\">g</a> 2 * 3 [k] &lt; `"
        );
        assert_eq!(inline("\u{43f}\u{440}"), "\u{43f}\u{440}");
    }
}
