//! Vector columns read in place: the values of each page are the raw little-endian matrix of its rows.
//!
//! A vector column is an ordinary Parquet list. In a PLAIN, uncompressed data page V2 the header says how long the
//! levels are; what follows them is the values of the rows that are not NULL, one after the other:
//!
//! ```text
//! header | repetition levels | definition levels | row 0: d values | row 1: d values | ...
//! ```
//! Only the headers are read when the pages are opened, and the definition levels of pages that have NULLs.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBufferBuilder, FixedSizeListArray, Float16Array, Float32Array,
};
use arrow::buffer::{Buffer, MutableBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field};
use half::f16;
use parquet::basic::{Compression, Type};
use parquet::file::page_index::offset_index::PageLocation;

use super::collect::radius_of;
use super::levels::for_each_run;
use super::page_header::{self, PageHeader};
use super::schema::{FieldId, LIST_ELEMENT};
use super::segment::{SegmentFile, SegmentReader};
use crate::error::{Error, Result};

/// The form of a vector's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// 32-bit floats.
    Float32,
    /// 16-bit floats.
    Float16,
}

impl ElementType {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 => 2,
        }
    }
}

/// A page of vectors: rows that follow each other.
#[derive(Debug, Clone)]
pub struct VectorPage {
    /// The place of its first row in the file.
    pub first_row: u32,
    /// How many rows it has, NULLs included.
    pub rows: u32,
    /// Which rows are not NULL; `None` when all are not.
    pub validity: Option<NullBuffer>,
    /// Where the values are in the file.
    offset: u64,
}

impl VectorPage {
    /// Rows that are not NULL.
    pub fn valid_rows(&self) -> usize {
        self.rows as usize - self.validity.as_ref().map_or(0, NullBuffer::null_count)
    }

    /// How many vectors the page has before the one of the row at `place` within it.
    pub fn vectors_before(&self, place: u32) -> usize {
        let place = place as usize;
        match &self.validity {
            Some(validity) => validity.inner().slice(0, place).count_set_bits(),
            None => place,
        }
    }

    /// The place of each row that is not NULL within the page, in the order of the values.
    pub fn valid_places(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.rows).filter(|place| match &self.validity {
            Some(validity) => validity.is_valid(*place as usize),
            None => true,
        })
    }
}

/// The pages of a vector column. Clones share the page table.
#[derive(Debug, Clone)]
pub struct VectorPages {
    label: Arc<str>,
    file: SegmentFile,
    element: ElementType,
    dimensions: usize,
    pages: Arc<Vec<VectorPage>>,
}

impl VectorPages {
    /// The pages of a column; `None` when it is not there or not in this form (another writer, another encoding).
    ///
    /// # Errors
    /// XX001 when the file is damaged, 58030 when it cannot be read.
    pub fn open(reader: &SegmentReader, field: FieldId) -> Result<Option<Self>> {
        let Some((leaf, element, dimensions, nullable)) = vector_leaf(reader, field) else {
            return Ok(None);
        };
        let empty = Self {
            label: reader.label().into(),
            file: reader.file().clone(),
            element,
            dimensions,
            pages: Arc::default(),
        };
        let mut pages = Vec::new();
        let Some(index) = reader.metadata().offset_index() else {
            return Ok(None);
        };
        for (row_group, columns) in index.iter().enumerate() {
            let chunk = reader.metadata().row_group(row_group).column(leaf);
            let plain = chunk.compression() == Compression::UNCOMPRESSED
                && chunk.dictionary_page_offset().is_none();
            if !plain {
                return Ok(None);
            }
            let range = reader.row_group_range(row_group);
            let locations = columns[leaf].page_locations();
            for (i, location) in locations.iter().enumerate() {
                let first = range.start + location.first_row_index as u32;
                let next = locations.get(i + 1);
                let end = next.map_or(range.end, |l| range.start + l.first_row_index as u32);
                let Some(page) = empty.open_page(location, first..end, nullable)? else {
                    return Ok(None);
                };
                pages.push(page);
            }
        }
        Ok(Some(Self {
            pages: Arc::new(pages),
            ..empty
        }))
    }

    fn open_page(
        &self,
        location: &PageLocation,
        rows: Range<u32>,
        nullable: bool,
    ) -> Result<Option<VectorPage>> {
        let start = location.offset as u64;
        let page_bytes = location.compressed_page_size as usize;
        let mut head = [0; page_header::HEADER_BYTES_MAX];
        let head = &mut head[..page_bytes.min(page_header::HEADER_BYTES_MAX)];
        self.read_at(start, head)?;
        let Some(header) = page_header::parse(head) else {
            return Ok(None);
        };
        if !self.is_raw(&header, rows.end - rows.start, page_bytes) {
            return Ok(None);
        }
        let levels = start + header.header_bytes as u64;
        let definition = levels + header.repetition_bytes;
        let validity = if header.nulls == 0 {
            None
        } else {
            let mut bytes = vec![0; header.definition_bytes as usize];
            self.read_at(definition, &mut bytes)?;
            let Some(validity) = self.validity(&bytes, &header, nullable) else {
                return Ok(None);
            };
            Some(validity)
        };
        Ok(Some(VectorPage {
            first_row: rows.start,
            rows: rows.end - rows.start,
            validity,
            offset: definition + header.definition_bytes,
        }))
    }

    /// Whether a page with this header has exactly a raw matrix behind its levels.
    fn is_raw(&self, header: &PageHeader, rows: u32, page_bytes: usize) -> bool {
        let levels = header.repetition_bytes.checked_add(header.definition_bytes);
        let valid = header.rows.checked_sub(header.nulls);
        let (Some(levels), Some(valid)) = (levels, valid) else {
            return false;
        };
        let values = valid.checked_mul(self.dimensions as u64);
        header.plain
            && header.rows == u64::from(rows)
            && header.header_bytes as u64 + header.page_bytes == page_bytes as u64
            && values.and_then(|v| v.checked_add(header.nulls)) == Some(header.levels)
            && values
                .and_then(|v| v.checked_mul(self.element.bytes() as u64))
                .and_then(|v| v.checked_add(levels))
                == Some(header.page_bytes)
    }

    /// Which rows are not NULL; `None` when the levels are not those of whole vectors and NULLs.
    fn validity(&self, levels: &[u8], header: &PageHeader, nullable: bool) -> Option<NullBuffer> {
        let rows = header.rows as usize;
        if !nullable {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(rows);
        let mut of_vector = 0u64;
        for_each_run(levels, 2, header.levels, |level, count| {
            match level {
                0 if of_vector == 0 => valid.append_n(count as usize, false),
                2 => {
                    let elements = of_vector + count;
                    let dimensions = self.dimensions as u64;
                    valid.append_n((elements / dimensions) as usize, true);
                    of_vector = elements % dimensions;
                }
                _ => return None,
            }
            (valid.len() <= rows).then_some(())
        })?;
        let nulls = NullBuffer::new(valid.finish());
        (of_vector == 0 && nulls.len() == rows && nulls.null_count() as u64 == header.nulls)
            .then_some(nulls)
    }

    /// The same pages with a count of bytes of their own.
    pub fn with_own_count(&self) -> Self {
        self.with_file(self.file.with_own_count())
    }

    /// Bytes read through these pages.
    pub fn bytes_read(&self) -> u64 {
        self.file.bytes_read()
    }

    /// The same pages, their bytes counted by another handle of the same file.
    pub(super) fn with_file(&self, file: SegmentFile) -> Self {
        Self {
            file,
            ..self.clone()
        }
    }

    /// The pages in the order of their rows.
    pub fn pages(&self) -> &[VectorPage] {
        &self.pages
    }

    /// The form of the elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Elements of a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The Arrow type of the column.
    pub fn data_type(&self) -> DataType {
        let element = match self.element {
            ElementType::Float32 => DataType::Float32,
            ElementType::Float16 => DataType::Float16,
        };
        let child = Field::new(LIST_ELEMENT, element, false);
        DataType::FixedSizeList(Arc::new(child), self.dimensions as i32)
    }

    /// Bytes of a vector.
    pub fn vector_bytes(&self) -> usize {
        self.dimensions * self.element.bytes()
    }

    /// Bytes of a page's values.
    pub fn page_bytes(&self, page: usize) -> usize {
        self.pages[page].valid_rows() * self.vector_bytes()
    }

    /// The page that holds the row.
    pub fn page_of(&self, row: u32) -> usize {
        self.pages
            .partition_point(|p| p.first_row <= row)
            .saturating_sub(1)
    }

    /// The values of a page: one vector after the other, little-endian, of its rows that are not NULL.
    ///
    /// `buffer` is filled from its start and grows as needed; use it again for the next page.
    ///
    /// # Errors
    /// XX001 when the file is damaged, 58030 when it cannot be read.
    pub fn read_page<'a>(&self, page: usize, buffer: &'a mut MutableBuffer) -> Result<&'a [u8]> {
        let bytes = self.page_bytes(page);
        buffer.resize(bytes, 0);
        self.read_at(self.pages[page].offset, buffer.as_slice_mut())?;
        Ok(buffer.as_slice())
    }

    /// Some of the vectors of a page, counted without the rows that are NULL: one after the other, little-endian, where
    /// the page cache has them. Their alignment is that of the file: none.
    ///
    /// # Errors
    /// XX000 when the page does not have them, XX001 when the file is damaged, 58030 when it cannot be read.
    pub fn vectors(&self, page: usize, vectors: Range<usize>) -> Result<&[u8]> {
        if vectors.end > self.pages[page].valid_rows() {
            let message = format!("page {page} of {} has no vectors {vectors:?}", self.label);
            return Err(Error::internal(message));
        }
        let start = self.pages[page].offset + (vectors.start * self.vector_bytes()) as u64;
        let end = start + (vectors.len() * self.vector_bytes()) as u64;
        super::segment::checked(&self.label, self.file.mapped(start..end))
    }

    /// That the file is whole; ask before its vectors are read in place.
    ///
    /// # Errors
    /// XX001 when it is shorter than it was.
    pub fn check_length(&self) -> Result<()> {
        super::segment::checked(&self.label, self.file.check_length())
    }

    /// The vectors of `rows` (ascending places in the file) one after the other into `target`, NULL as zeros; says which
    /// are not NULL. Rows that follow each other are read at once.
    ///
    /// # Errors
    /// XX000 when `rows` are not in the file or `target` does not fit, XX001 and 58030 as for a page.
    pub fn gather(&self, rows: &[u32], target: &mut [u8]) -> Result<Option<NullBuffer>> {
        let stride = self.vector_bytes();
        if target.len() != rows.len() * stride {
            return Err(Error::internal(
                "the target of gathered vectors has another size",
            ));
        }
        let mut valid = self
            .any_null()
            .then(|| BooleanBufferBuilder::new(rows.len()));
        let mut done = 0;
        while done < rows.len() {
            let page = &self.pages[self.page_with(rows[done])?];
            let end = page.first_row + page.rows;
            let of_page = rows[done..].partition_point(|row| *row < end);
            let rows = &rows[done..done + of_page];
            let target = &mut target[done * stride..(done + of_page) * stride];
            self.gather_page(page, rows, target, valid.as_mut())?;
            done += of_page;
        }
        let nulls = valid.map(|mut valid| NullBuffer::new(valid.finish()));
        Ok(nulls.filter(|nulls| nulls.null_count() > 0))
    }

    /// The vectors of `rows` (ascending places in the file) as an array of the column's type.
    ///
    /// # Errors
    /// Those of [`VectorPages::gather`].
    pub fn gather_array(&self, rows: &[u32]) -> Result<ArrayRef> {
        let mut target = MutableBuffer::from_len_zeroed(rows.len() * self.vector_bytes());
        let nulls = self.gather(rows, target.as_slice_mut())?;
        let values: ArrayRef = match self.element {
            ElementType::Float32 => Arc::new(Float32Array::new(Buffer::from(target).into(), None)),
            ElementType::Float16 => Arc::new(Float16Array::new(Buffer::from(target).into(), None)),
        };
        let child = Field::new(LIST_ELEMENT, values.data_type().clone(), false);
        let dimensions = self.dimensions as i32;
        let list = FixedSizeListArray::try_new(Arc::new(child), dimensions, values, nulls)?;
        Ok(Arc::new(list))
    }

    fn gather_page(
        &self,
        page: &VectorPage,
        rows: &[u32],
        target: &mut [u8],
        valid: Option<&mut BooleanBufferBuilder>,
    ) -> Result<()> {
        let stride = self.vector_bytes();
        let slots = Slots::new(page);
        let slots: Vec<Option<usize>> = rows
            .iter()
            .map(|row| slots.slot((row - page.first_row) as usize))
            .collect();
        if let Some(valid) = valid {
            slots.iter().for_each(|slot| valid.append(slot.is_some()));
        }
        let mut at = 0;
        while at < slots.len() {
            let Some(first) = slots[at] else {
                target[at * stride..(at + 1) * stride].fill(0);
                at += 1;
                continue;
            };
            let follows = |(i, slot): (usize, &Option<usize>)| *slot == Some(first + i);
            let run = slots[at..]
                .iter()
                .enumerate()
                .take_while(|s| follows(*s))
                .count();
            let offset = page.offset + (first * stride) as u64;
            self.read_at(offset, &mut target[at * stride..(at + run) * stride])?;
            at += run;
        }
        Ok(())
    }

    fn page_with(&self, row: u32) -> Result<usize> {
        let page = self.page_of(row);
        let inside = |p: &VectorPage| (p.first_row..p.first_row + p.rows).contains(&row);
        match self.pages.get(page).filter(|p| inside(p)) {
            Some(_) => Ok(page),
            None => Err(Error::internal(format!("{} has no row {row}", self.label))),
        }
    }

    fn any_null(&self) -> bool {
        self.pages.iter().any(|page| page.validity.is_some())
    }

    /// The greatest L2 distance of a vector from `centroid`, rounded up; infinite when a vector is not finite.
    ///
    /// # Errors
    /// XX001 when the file is damaged, 58030 when it cannot be read.
    pub(super) fn radius(&self, centroid: &[f32]) -> Result<f64> {
        let mut buffer = MutableBuffer::new(0);
        let mut radius = 0.0f64;
        for page in 0..self.pages.len() {
            let bytes = self.read_page(page, &mut buffer)?;
            let of_page = match self.element {
                ElementType::Float32 => {
                    let values = bytes.as_chunks::<4>().0.iter();
                    radius_of(values.map(|v| f32::from_le_bytes(*v)), centroid)
                }
                ElementType::Float16 => {
                    let values = bytes.as_chunks::<2>().0.iter();
                    radius_of(values.map(|v| f16::from_le_bytes(*v)), centroid)
                }
            };
            radius = radius.max(of_page);
        }
        Ok(radius)
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> Result<()> {
        super::segment::checked(&self.label, self.file.read_at(offset, target))
    }
}

/// Where the vector of each row is among the values of its page.
struct Slots<'a> {
    page: &'a VectorPage,
    /// With NULLs: how many vectors come before each row.
    before: Option<Vec<u32>>,
}

impl<'a> Slots<'a> {
    fn new(page: &'a VectorPage) -> Self {
        let count = |validity: &NullBuffer| {
            let running = validity.iter().scan(0, |count, valid| {
                let before = *count;
                *count += u32::from(valid);
                Some(before)
            });
            running.collect()
        };
        Self {
            page,
            before: page.validity.as_ref().map(count),
        }
    }

    fn slot(&self, place: usize) -> Option<usize> {
        match (&self.page.validity, &self.before) {
            (Some(validity), Some(before)) => {
                validity.is_valid(place).then(|| before[place] as usize)
            }
            _ => Some(place),
        }
    }
}

/// Leaf, element type, dimensions and nullability of a vector column of the file.
fn vector_leaf(
    reader: &SegmentReader,
    field: FieldId,
) -> Option<(usize, ElementType, usize, bool)> {
    let stored = reader.stored(field)?;
    let leaf = stored.leaf?;
    let DataType::FixedSizeList(child, dimensions) =
        reader.arrow_schema().field(stored.root).data_type()
    else {
        return None;
    };
    let descriptor = reader
        .metadata()
        .file_metadata()
        .schema_descr()
        .column(leaf);
    let element = match (child.data_type(), descriptor.physical_type()) {
        (DataType::Float32, Type::FLOAT) => ElementType::Float32,
        (DataType::Float16, Type::FIXED_LEN_BYTE_ARRAY) => ElementType::Float16,
        _ => return None,
    };
    // A list that may be NULL has levels 0 (NULL), 1 (empty) and 2 (an element); elements are never NULL.
    let nullable = match (descriptor.max_def_level(), descriptor.max_rep_level()) {
        (1, 1) => false,
        (2, 1) if !child.is_nullable() => true,
        _ => return None,
    };
    let dimensions = usize::try_from(*dimensions).ok().filter(|d| *d > 0)?;
    Some((leaf, element, dimensions, nullable))
}
