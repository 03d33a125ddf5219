//! Sections and memory of programs (ELF, System V ABI), as far as something there tells of packages.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Headers that are looked at, at most.
const HEADERS: u64 = 4096;
/// Bytes of a section that are read, at most.
const SECTION: u64 = 16 << 20;

/// A program that is open.
pub struct Elf {
    file: File,
    is_64: bool,
    pub is_big: bool,
    sections: Vec<Section>,
    segments: Vec<Segment>,
}

struct Section {
    name: u64,
    offset: u64,
    size: u64,
}

/// A part of the file that is put into memory.
struct Segment {
    address: u64,
    offset: u64,
    size: u64,
}

/// Where the fields of headers are, in files of 32 and of 64 bits.
struct Shape {
    word: usize,
    header_offsets: [usize; 2],
    header_counts: usize,
    section: [usize; 2],
    segment: [usize; 3],
}

const SHAPE_32: Shape =
    Shape { word: 4, header_offsets: [28, 32], header_counts: 42, section: [16, 20], segment: [4, 8, 16] };
const SHAPE_64: Shape =
    Shape { word: 8, header_offsets: [32, 40], header_counts: 54, section: [24, 32], segment: [8, 16, 32] };

impl Elf {
    /// `None` for what is no such file, or is damaged.
    pub fn open(file: File) -> Option<Self> {
        let mut head = [0; 64];
        let read = file.read_at(&mut head, 0).ok()?;
        if read < 52 || !head.starts_with(b"\x7fELF") {
            return None;
        }
        let (is_64, is_big) = (head[4] == 2, head[5] == 2);
        let mut elf = Elf { file, is_64, is_big, sections: Vec::new(), segments: Vec::new() };
        let shape = elf.shape();
        let counts = shape.header_counts;
        let offset = |at: usize| elf.number(&head, at, shape.word);
        let half = |at: usize| elf.number(&head, at, 2);
        let (segments, sections) = (offset(shape.header_offsets[0])?, offset(shape.header_offsets[1])?);
        let (segment_size, segment_count) = (half(counts)?, half(counts + 2)?);
        let (section_size, section_count, names) = (half(counts + 4)?, half(counts + 6)?, half(counts + 8)?);
        elf.segments = elf.read_segments(segments, segment_size, segment_count);
        elf.sections = elf.read_sections(sections, section_size, section_count);
        elf.name_sections(names);
        Some(elf)
    }

    fn shape(&self) -> &'static Shape {
        if self.is_64 { &SHAPE_64 } else { &SHAPE_32 }
    }

    pub fn number(&self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.is_big { field.iter().fold(0, add) } else { field.iter().rev().fold(0, add) })
    }

    fn headers(&self, offset: u64, size: u64, count: u64) -> Vec<Vec<u8>> {
        let all =
            (0..count.min(HEADERS)).map_while(|i| self.read(offset.checked_add(i.checked_mul(size)?)?, size));
        all.filter(|header| !header.is_empty()).collect()
    }

    fn read_segments(&self, offset: u64, size: u64, count: u64) -> Vec<Segment> {
        let (shape, headers) = (self.shape(), self.headers(offset, size, count));
        let read = |header: &Vec<u8>| {
            const LOAD: u64 = 1;
            let [offset, address, size] = shape.segment.map(|at| self.number(header, at, shape.word));
            let segment = Segment { address: address?, offset: offset?, size: size? };
            (self.number(header, 0, 4)? == LOAD).then_some(segment)
        };
        headers.iter().filter_map(read).collect()
    }

    fn read_sections(&self, offset: u64, size: u64, count: u64) -> Vec<Section> {
        let (shape, headers) = (self.shape(), self.headers(offset, size, count));
        let read = |header: &Vec<u8>| {
            let [offset, size] = shape.section.map(|at| self.number(header, at, shape.word));
            Some(Section { name: self.number(header, 0, 4)?, offset: offset?, size: size? })
        };
        headers.iter().map_while(read).collect()
    }

    /// Turns places among the names into places in the file.
    fn name_sections(&mut self, names: u64) {
        let table = self.sections.get(names as usize).map(|names| names.offset);
        for section in &mut self.sections {
            section.name = table.and_then(|table| table.checked_add(section.name)).unwrap_or(u64::MAX);
        }
    }

    /// The bytes of a section; `None` where there is none, or more than one can read.
    pub fn section(&self, name: &str) -> Option<Vec<u8>> {
        let wanted = [name.as_bytes(), b"\0"].concat();
        let named = |section: &&Section| {
            self.read(section.name, wanted.len() as u64).is_some_and(|bytes| bytes == wanted)
        };
        let section = self.sections.iter().find(named)?;
        self.read(section.offset, section.size)
    }

    /// The bytes at an address of the running program.
    pub fn at_address(&self, address: u64, size: u64) -> Option<Vec<u8>> {
        let holds =
            |segment: &&Segment| address >= segment.address && address - segment.address < segment.size;
        let segment = self.segments.iter().find(holds)?;
        self.read(segment.offset.checked_add(address - segment.address)?, size)
    }

    /// All of them or nothing.
    fn read(&self, offset: u64, size: u64) -> Option<Vec<u8>> {
        let end = offset.checked_add(size)?;
        // What lies beyond the end takes no memory.
        if size > SECTION || end > self.file.metadata().ok()?.len() {
            return None;
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }
}
