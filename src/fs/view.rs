//! A read-only view of a file's bytes: the one place of the crate with `unsafe` code.
//!
//! A view is a slice, which a binary search needs. On a disk it is a memory map; elsewhere it owns
//! its bytes.
//!
//! The kernel provides pages of a mapped file as they are when they are touched. If another
//! program truncates the file, the process is killed by `SIGBUS`; if it rewrites the file, the
//! bytes change under a `&[u8]`. So views are used for one kind of file only: a sealed file of
//! this crate, in a directory whose lock this process holds. Such a file is never written or
//! truncated again, only removed, and a map outlives that.

use std::fmt;
use std::io;
use std::ops::Deref;

/// A read-only view of the first bytes of a file.
///
/// It stays valid after the file is closed, renamed or removed. It is *not* valid after another
/// program has truncated the file: see [`File::view`](super::File::view).
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
    /// The caller ensures that the file is neither written nor truncated below `len` while the
    /// view lives. Nothing checks that. The crate ensures it by mapping only its own sealed files,
    /// under the lock of their directory. A `len` of 0 maps nothing.
    pub(super) fn map(file: impl memmap2::MmapAsRawDesc, len: u64) -> io::Result<FileView> {
        if len == 0 {
            return Ok(FileView::from_vec(Vec::new()));
        }
        let len = usize::try_from(len).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the file is larger than the address space")
        })?;
        // SAFETY: the bytes behind a `&[u8]` must exist and must not change while it lives. The
        // map is read-only, so nothing in this process writes through it. The file has at least
        // `len` bytes: the only caller checks that first. By the contract above, no code truncates
        // or rewrites it: it is a sealed file of this crate, and the lock of its directory
        // excludes other logs. Removing or renaming it does not touch the mapped pages.
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
