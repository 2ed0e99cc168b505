//! Reads the code blocks of a Markdown document, with the comments that mark them.

/// The comment on the line before a code block.
#[derive(Debug, PartialEq)]
pub enum Marker {
    None,
    /// `<!-- run -->`: a test runs the block.
    Run,
    /// `<!-- tour -->`: the test of the tour runs the block.
    Tour,
    /// `<!-- not run: REASON -->`
    NotRun(String),
    /// `<!-- output -->`: the output of the last block that runs.
    Output,
    /// Another comment, for example of a generated part.
    Other,
}

impl Marker {
    fn parse(line: &str) -> Marker {
        let comment = line.trim().strip_prefix("<!-- ");
        let Some(comment) = comment.and_then(|comment| comment.strip_suffix(" -->")) else {
            return Marker::None;
        };
        match (comment, comment.strip_prefix("not run:")) {
            (_, Some(reason)) => Marker::NotRun(reason.trim().to_owned()),
            ("run", _) => Marker::Run,
            ("tour", _) => Marker::Tour,
            ("output", _) => Marker::Output,
            _other => Marker::Other,
        }
    }
}

/// A fenced code block.
#[derive(Debug)]
pub struct Block {
    /// The name of the document.
    pub document: String,
    /// The number of the first line after the fence.
    pub first_line: usize,
    pub language: String,
    pub marker: Marker,
    /// The lines without the indentation of the fence.
    pub lines: Vec<String>,
}

impl Block {
    pub fn is_shell(&self) -> bool {
        ["bash", "sh", "console"].contains(&self.language.as_str())
    }

    pub fn is_executed(&self) -> bool {
        matches!(self.marker, Marker::Run | Marker::Tour)
    }

    /// Returns the document and the line of the fence.
    pub fn location(&self) -> String {
        format!("{}:{}", self.document, self.first_line - 1)
    }

    /// Returns the statuses in the comments of the lines that print one.
    pub fn expected_statuses(&self) -> Vec<&str> {
        let lines = self.lines.iter();
        let lines = lines.filter(|line| line.starts_with("status "));
        lines
            .filter_map(|line| line.rsplit_once("  # "))
            .map(|(_, status)| status)
            .collect()
    }
}

/// Returns the code blocks of a document, in their order.
pub fn read_blocks(document: &str, text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // The indentation and the fence of the block that is not closed yet.
    let mut open: Option<(usize, String)> = None;
    let mut previous = "";
    for (line, number) in text.lines().zip(1..) {
        let indentation = line.len() - line.trim_start().len();
        let ticks = line.trim_start().chars().take_while(|c| *c == '`').count();
        let fence = "`".repeat(ticks);
        match &open {
            Some((_, opened)) if line.trim() == opened => open = None,
            Some((indented, _)) => {
                let start = indentation.min(*indented);
                let block = blocks.last_mut().expect("an open block");
                block.lines.push(line[start..].to_owned());
            }
            None if ticks >= 3 => {
                let info = line.trim_start_matches([' ', '`']);
                let language = info.split([' ', ',']).next().unwrap_or_default();
                blocks.push(Block {
                    document: document.to_owned(),
                    first_line: number + 1,
                    language: language.to_owned(),
                    marker: Marker::parse(previous),
                    lines: Vec::new(),
                });
                open = Some((indentation, fence));
            }
            None => {}
        }
        previous = line;
    }
    assert!(open.is_none(), "{document}: a code block isn't closed");
    blocks
}

#[test]
fn blocks_are_read_with_markers_and_indentation() {
    let text = "\
1. Step

   <!-- run -->
   ```bash
   if a; then
     status b  # 204
   fi
   status c  # 401
   ```

<!-- not run: needs Docker -->
```console
docker ps
```

````markdown
```bash
```
````
";
    let blocks = read_blocks("a.md", text);
    let found = blocks
        .iter()
        .map(|block| (block.language.as_str(), block.first_line));
    let expected = [("bash", 5), ("console", 13), ("markdown", 17)];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let [first, second, third] = blocks.as_slice() else {
        panic!("three blocks");
    };
    assert_eq!(first.lines[1], "  status b  # 204");
    assert_eq!(first.expected_statuses(), ["401"]);
    assert_eq!(first.marker, Marker::Run);
    assert_eq!(second.marker, Marker::NotRun("needs Docker".to_owned()));
    assert_eq!((&third.marker, third.lines.len()), (&Marker::None, 2));
}
