//! A read-only view of a file's bytes: the one place of the crate with `unsafe` code.
//!
//! A view is what a binary search wants: a slice. On a disk it is a memory map,
//! elsewhere it is bytes of its own; whoever reads it cannot tell.
//!
//! A map has a price. The kernel hands out pages of the file as they are at the
//! moment they are touched, so a file that somebody cuts while it is mapped ends
//! the process with `SIGBUS`, and one that somebody rewrites changes under a
//! `&[u8]`. Views are therefore for one kind of file only: one this crate wrote,
//! sealed (it is never written or cut again, only removed, which a map outlives)
//! and that lies in a directory whose lock this process holds.

use std::fmt;
use std::io;
use std::ops::Deref;

/// A read-only view of the first bytes of a file.
///
/// It stays valid after the file is closed, renamed or removed. It is *not* valid
/// after another program cut the file: see [`File::view`](super::File::view).
///
/// ```
/// use annals::fs::FileView;
///
/// let view = FileView::from_vec(vec![1, 2, 3]);
/// assert_eq!(view.as_slice(), [1, 2, 3]);
/// assert_eq!(view.len(), 3);
/// ```
pub struct FileView {
    bytes: Bytes,
}

enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl FileView {
    /// A view of bytes of its own: for a file system that has nothing to map.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> FileView {
        FileView { bytes: Bytes::Owned(bytes) }
    }

    /// Maps the first `len` bytes of an open file, which must be at least that long.
    ///
    /// The caller promises that the file is neither written nor cut below `len`
    /// while the view lives. The promise is checked by nobody: it is kept by mapping
    /// only sealed files of this crate, under the lock of their directory.
    /// A `len` of 0 maps nothing.
    pub(super) fn map(file: impl memmap2::MmapAsRawDesc, len: u64) -> io::Result<FileView> {
        if len == 0 {
            return Ok(FileView::from_vec(Vec::new()));
        }
        let len = usize::try_from(len).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the file is larger than the address space")
        })?;
        // SAFETY: the bytes behind a `&[u8]` must not change, and must be there, while it
        // lives. The map is read-only, so nothing in this process writes through it. The
        // file has at least `len` bytes (the only caller asks it first), and by the
        // contract above nobody cuts or rewrites it: it is sealed, it is one of this
        // crate's own files, and the lock of its directory keeps other logs out.
        // Removing or renaming it does not touch the mapped pages.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(FileView { bytes: Bytes::Mapped(map) })
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl Deref for FileView {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for FileView {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for FileView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mapped = matches!(self.bytes, Bytes::Mapped(_));
        f.debug_struct("FileView").field("len", &self.len()).field("mapped", &mapped).finish()
    }
}
