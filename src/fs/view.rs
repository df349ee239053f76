//! A read-only view of a file's bytes: the one place of the crate with `unsafe` code.
//!
//! A view is a slice, as a binary search needs it. On a disk it is a memory map;
//! elsewhere it owns its bytes. A reader sees no difference.
//!
//! A map has a price. The kernel provides pages of the file as they are at the
//! moment they are touched. If another program truncates a mapped file, the process
//! ends with `SIGBUS`; if it rewrites the file, the bytes change under a `&[u8]`. So
//! views are used for one kind of file only: a sealed file of this crate (it is never
//! written or truncated again, only removed, which a map outlives), in a directory
//! whose lock this process holds.

use std::fmt;
use std::io;
use std::ops::Deref;

/// A read-only view of the first bytes of a file.
///
/// It stays valid after the file is closed, renamed or removed. It is *not* valid
/// after another program has truncated the file: see [`File::view`](super::File::view).
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
    /// Creates a view that owns its bytes, for a file system without memory maps.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> FileView {
        FileView { bytes: Bytes::Owned(bytes) }
    }

    /// Maps the first `len` bytes of an open file, which must be at least that long.
    ///
    /// The caller promises that the file is neither written nor truncated below `len`
    /// while the view lives. Nothing checks that promise. The crate keeps it by mapping
    /// only its own sealed files, under the lock of their directory.
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
        // contract above no code truncates or rewrites it: it is sealed, it is one of this
        // crate's own files, and the lock of its directory keeps other logs out.
        // Removing or renaming it does not touch the mapped pages.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(FileView { bytes: Bytes::Mapped(map) })
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Returns whether the view is empty.
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
