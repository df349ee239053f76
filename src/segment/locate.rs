//! The lookup from an offset to the position of its batch: the nearest index entry, then the
//! headers.
//!
//! No entry is believed on its own. Before an entry is used for the first time, the headers of the
//! log must lead from the previous entry to it.

use crate::error::Result;
use crate::fs::File;
use crate::record::{BatchHeader, BatchRef};
use crate::segment::Segment;
use crate::segment::headers::{HeaderWalk, Walked, read_header};
use crate::segment::name::Kind;
use crate::segment::offset_index::{OffsetEntry, OffsetIndex};
use crate::segment::scan::check_offsets;
use crate::types::Offset;
use std::cmp;

/// The place in a segment where an offset is to be found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    /// The position of the first batch whose last offset is not below the requested one.
    pub(crate) position: u64,
    /// The offset that the batch must not begin below.
    pub(crate) lowest: Offset,
    /// Its header, if it was read on the way.
    header: Option<BatchHeader>,
}

impl Located {
    /// Returns the size of the batch, or 0 if it is not known.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.header.map_or(0, |header| header.size_bytes())
    }
}

impl Segment {
    /// Returns the place of the first batch whose last offset is at or above `offset`; `None` if
    /// the segment ends below it.
    pub(crate) fn locate(&self, offset: Offset, limit: Offset) -> Result<Option<Located>> {
        let end = self.published();
        if end == 0 {
            return Ok(None);
        }
        let file = self.file()?;
        let indexes = self.indexes(limit)?;
        if let Some(from) = self.nearest_entry(&*file, &indexes.offsets, offset, end)? {
            return self.walk_to(&*file, from, offset, end);
        }
        let reason = "an entry does not point at the batch it names";
        let rebuilt = self.replace_wrong_indexes(Kind::OffsetIndex, reason, limit)?;
        let from = match &rebuilt {
            Some(indexes) => self.nearest_entry(&*file, &indexes.offsets, offset, end)?,
            None => None,
        };
        self.walk_to(&*file, from.unwrap_or(self.first_place()), offset, end)
    }

    /// Returns the header of the batch that holds an offset or follows it.
    pub(crate) fn header_at(&self, offset: Offset, limit: Offset) -> Result<Option<BatchHeader>> {
        let Some(located) = self.locate(offset, limit)? else { return Ok(None) };
        if located.header.is_some() {
            return Ok(located.header);
        }
        let header = read_header(&*self.file()?, located.position, self.published());
        Ok(header.map_err(|error| self.io("read", error))?.ok())
    }

    fn first_place(&self) -> Located {
        Located { position: 0, lowest: self.base, header: None }
    }

    /// Returns the place to walk from to reach `offset`: a batch that an index entry names, or the
    /// first batch. Returns `None` if the log contradicts the index there.
    ///
    /// An entry at or above the offset is tried first: it often names the requested batch, and
    /// saves reading the previous header.
    fn nearest_entry(
        &self,
        file: &dyn File,
        index: &OffsetIndex,
        offset: Offset,
        end: u64,
    ) -> Result<Option<Located>> {
        let ceiling = index.ceiling(offset);
        let below = ceiling.checked_sub(1);
        // Check the part before the entry `below`, too: the walk may begin there, and no earlier
        // batch may hold offsets beyond that entry.
        for number in [Some(ceiling), below].into_iter().flatten() {
            if !self.leads_to(file, index, number, end)? {
                return Ok(None);
            }
        }
        let below = below.and_then(|below| index.get(below));
        for entry in [index.get(ceiling), below].into_iter().flatten() {
            // An entry of the active segment may have been added after `end` was loaded.
            if entry.position >= end && !self.sealed {
                continue;
            }
            let Some(first) = self.check_entry(file, entry, end)? else { return Ok(None) };
            if first.base_offset <= offset {
                return Ok(Some(Located {
                    position: entry.position,
                    lowest: first.base_offset,
                    header: Some(first),
                }));
            }
        }
        Ok(Some(self.first_place()))
    }

    /// Returns whether the headers of the log lead from the previous entry to the entry of this
    /// number, or to the end if there is no such entry. Then batches begin at both positions.
    fn leads_to(
        &self,
        file: &dyn File,
        index: &OffsetIndex,
        number: usize,
        end: u64,
    ) -> Result<bool> {
        if index.is_checked(number) {
            return Ok(true);
        }
        let below = number.checked_sub(1).and_then(|below| index.get(below));
        let above = index.get(number).filter(|above| above.position < end);
        let upto = above.map_or(end, |above| above.position);
        let mut walk = HeaderWalk::new(file, below.map_or(0, |below| below.position), end);
        let mut lowest = self.base;
        let mut below_ends = below.is_none();
        while walk.position() < upto {
            let Walked::Batch { header, .. } = walk.next().map_err(|e| self.io("read", e))? else {
                return Ok(false);
            };
            if header.base_offset < lowest {
                return Ok(false);
            }
            below_ends |= below.is_some_and(|below| below.offset == header.last_offset());
            lowest = header.next_offset();
        }
        let follows = match above {
            Some(above) => {
                self.check_entry(file, above, end)?.is_some_and(|first| first.base_offset >= lowest)
            }
            None => true,
        };
        let holds = walk.position() == upto && below_ends && follows;
        if holds {
            index.set_checked(number);
        }
        Ok(holds)
    }

    /// Returns the header of the append that an entry names, if the log confirms the entry:
    /// batches must begin at its position and end with its offset.
    pub(super) fn check_entry(
        &self,
        file: &dyn File,
        entry: OffsetEntry,
        end: u64,
    ) -> Result<Option<BatchHeader>> {
        let mut walk = HeaderWalk::new(file, entry.position, end);
        let mut first = None;
        while let Walked::Batch { header, .. } = walk.next().map_err(|e| self.io("read", e))? {
            let first = *first.get_or_insert(header);
            match header.last_offset().cmp(&entry.offset) {
                cmp::Ordering::Less => {}
                cmp::Ordering::Equal => return Ok(Some(first)),
                cmp::Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Walks the headers from a place to the batch that holds `offset` or follows it.
    fn walk_to(
        &self,
        file: &dyn File,
        from: Located,
        offset: Offset,
        end: u64,
    ) -> Result<Option<Located>> {
        let Located { position, mut lowest, header } = from;
        let mut walk = HeaderWalk::new(file, position, end).with_first(header);
        let mut passed = None;
        loop {
            let (position, header) = match walk.next().map_err(|e| self.io("read", e))? {
                Walked::Batch { position, header } => (position, header),
                Walked::End => break,
                Walked::Invalid(reason) => {
                    return Err(self.corrupt(walk.position(), Some(lowest), reason.into()));
                }
            };
            check_offsets(&header, lowest, Offset::MAX)
                .map_err(|damage| self.corrupt(position, Some(lowest), damage))?;
            if header.last_offset() >= offset {
                if header.base_offset > offset {
                    self.check_passed(file, passed)?;
                }
                return Ok(Some(Located { position, lowest, header: Some(header) }));
            }
            lowest = header.next_offset();
            passed = Some((position, header));
        }
        self.check_passed(file, passed)?;
        Ok(None)
    }

    /// Verifies the batch that a walk passed last, before it reports that an offset has no batch:
    /// the walk believed the header, and a damaged header may name fewer offsets than its batch
    /// holds.
    fn check_passed(&self, file: &dyn File, passed: Option<(u64, BatchHeader)>) -> Result<()> {
        let Some((position, header)) = passed else { return Ok(()) };
        let mut bytes = vec![0; header.size_bytes()];
        file.read_exact_at(&mut bytes, position).map_err(|e| self.io("read", e))?;
        BatchRef::from_parts(header, &bytes)
            .verify_checksum()
            .map_err(|reason| self.corrupt(position, Some(header.base_offset), reason.into()))
    }
}
