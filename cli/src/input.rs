//! Records from stdin: one value a line, or JSON.

use crate::args::InputFormat;
use crate::failure::Failure;
use crate::json;
use annals::Record;
use std::io::{self, BufRead, BufReader, Read};

/// The most bytes JSON needs for one byte of a string: `\u0000`.
const JSON_GROWTH: u64 = 6;
/// The bytes that JSON needs besides the strings.
const JSON_FRAME_BYTES: u64 = 64 << 10;

/// Reads records, line by line.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    format: InputFormat,
    key_separator: Option<String>,
    most_bytes: u64,
    /// The option that allows longer lines.
    raise: &'static str,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<BufReader<R>> {
    /// Returns whether the next line can be read without waiting for more input.
    pub fn is_line_buffered(&self) -> bool {
        self.from.buffer().contains(&b'\n')
    }
}

impl<R: BufRead> Lines<R> {
    /// Creates a reader of lines, as long as the JSON of a record of `most` bytes can be.
    pub fn new(
        from: R,
        format: InputFormat,
        key_separator: Option<String>,
        record_bytes: u64,
        raise: &'static str,
    ) -> Result<Lines<R>, Failure> {
        if key_separator.is_some() && format == InputFormat::Json {
            return Err(Failure::usage("--key-separator is for --format lines"));
        }
        let most_bytes = match format {
            InputFormat::Lines => record_bytes,
            InputFormat::Json => {
                record_bytes.saturating_mul(JSON_GROWTH).saturating_add(JSON_FRAME_BYTES)
            }
        };
        Ok(Lines { from, format, key_separator, most_bytes, raise, line: Vec::new(), number: 0 })
    }

    /// Returns the number of the last line that was read, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the next record, or `None` at the end of the input.
    pub fn next(&mut self) -> Result<Option<Record>, Failure> {
        while self.next_line()? {
            if let Some(record) = self.record()? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Reads the next line, without its line end. Returns false at the end of the input.
    fn next_line(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        let mut any = false;
        loop {
            let bytes = match self.from.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::io("read stdin", &error)),
            };
            if bytes.is_empty() {
                return Ok(any);
            }
            if !any {
                any = true;
                self.number = self.number.saturating_add(1);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            if (self.line.len() as u64).saturating_add(part.len() as u64) > self.most_bytes {
                let (most, raise) = (self.most_bytes, self.raise);
                return Err(self.bad(&format!("it is longer than {most} bytes; raise {raise}")));
            }
            self.line.extend_from_slice(part);
            let used = part.len().saturating_add(usize::from(end.is_some()));
            self.from.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    fn record(&self) -> Result<Option<Record>, Failure> {
        let line = self.line.as_slice();
        if self.format == InputFormat::Json {
            if line.iter().all(u8::is_ascii_whitespace) {
                return Ok(None);
            }
            let record = json::record(line);
            return record.map(Some).map_err(|mistake| self.bad(&mistake));
        }
        let Some(separator) = &self.key_separator else { return Ok(Some(line.into())) };
        let found = line.windows(separator.len()).position(|part| part == separator.as_bytes());
        let parts = found.and_then(|at| {
            let (key, rest) = line.split_at_checked(at)?;
            Some((key, rest.get(separator.len()..)?))
        });
        match parts {
            Some((key, value)) => Ok(Some(Record::from(value).key(key.to_vec()))),
            None => Err(self.bad(&format!(
                "it has no key separator `{}`; begin each line with a key and the separator",
                separator.escape_debug()
            ))),
        }
    }

    fn bad(&self, reason: &str) -> Failure {
        Failure::refused(format!("line {} of stdin: {reason}", self.number))
    }
}
