#if canImport(Glibc)
import Glibc
#endif

/// A growable run of bytes outside Swift's arrays: appended at the end, consumed from the front.
///
/// A class, so that it is passed without copies; used by one thread at a time. What the warm path calls dozens of times an
/// invocation is `@inlinable`: cross-module optimisation alone leaves it out of line.
package final class ByteBuffer {
    @usableFromInline var base: UnsafeMutablePointer<UInt8>
    @usableFromInline var capacity: Int
    @usableFromInline var start = 0
    @usableFromInline var end = 0

    package init(capacity: Int = 512) {
        self.capacity = max(capacity, 16)
        base = .allocate(capacity: self.capacity)
    }

    deinit { base.deallocate() }

    @inlinable
    package var count: Int { end - start }
    @inlinable
    package var isEmpty: Bool { end == start }

    /// The bytes not yet consumed; valid until the next append.
    @inlinable
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base + start, count: end - start) }

    /// Makes room for `count` bytes at the end and returns where they go; `commit` makes them part of the buffer.
    @inlinable
    package func reserve(_ count: Int) -> UnsafeMutablePointer<UInt8> {
        if capacity - end < count { grow(by: count) }
        return base + end
    }

    @inlinable
    package func commit(_ count: Int) {
        assert(end + count <= capacity)
        end += count
    }

    @usableFromInline func grow(by count: Int) {
        let held = end - start
        if start > 0, capacity - held >= count, start >= held {
            memcpy(base, base + start, held)
        } else {
            capacity = max(capacity * 2, held + count)
            let bigger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
            memcpy(bigger, base + start, held)
            base.deallocate()
            base = bigger
        }
        start = 0
        end = held
    }

    /// Drops `count` bytes from the front; the last of them as `clear` does.
    package func consume(_ count: Int) {
        assert(count <= end - start)
        start += count
        if start == end { clear() }
    }

    /// Drops everything; gives back the memory when it has grown beyond `keeping` bytes.
    package func clear(keeping: Int = 256 * 1024) {
        start = 0
        end = 0
        if capacity > keeping {
            base.deallocate()
            capacity = 512
            base = .allocate(capacity: capacity)
        }
    }

    /// Takes back what was appended beyond `count` bytes.
    @inlinable
    package func truncate(to count: Int) {
        assert(count <= end - start)
        end = start + count
    }

    @inlinable
    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard let from = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count).update(from: from.assumingMemoryBound(to: UInt8.self), count: bytes.count)
        end += bytes.count
    }

    @inlinable
    package func append(_ text: StaticString) {
        reserve(text.utf8CodeUnitCount).update(from: text.utf8Start, count: text.utf8CodeUnitCount)
        end += text.utf8CodeUnitCount
    }

    @_disfavoredOverload
    package func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    package func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

    @inlinable
    package func append(_ byte: UInt8) {
        reserve(1).pointee = byte
        end += 1
    }

    package func append(_ id: RequestID) {
        id.write(to: reserve(36))
        end += 36
    }

    /// Appends `value` in decimal.
    package func append(decimal value: UInt64) {
        let room = reserve(20)
        if value < 10 {
            room.pointee = UInt8(ascii: "0") + UInt8(value)
            end += 1
            return
        }
        var digits = 0
        var rest = value
        while rest > 0 {
            digits += 1
            rest /= 10
        }
        rest = value
        var at = digits
        while at > 0 {
            at -= 1
            room[at] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
        end += digits
    }

    package func append(decimal value: Int) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(decimal: UInt64(value.magnitude))
    }

    /// Appends `value` with exactly `width` decimal digits, zeros in front.
    package func append(decimal value: UInt64, width: Int) {
        let room = reserve(width)
        var rest = value
        var at = width
        while at > 0 {
            at -= 1
            room[at] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
        end += width
    }

    /// Appends a time in milliseconds with two decimals: `26.73`.
    package func append(milliseconds span: Span) {
        let hundredths = (span.nanoseconds + 5_000) / 10_000
        append(decimal: hundredths / 100)
        append(UInt8(ascii: "."))
        append(decimal: hundredths % 100, width: 2)
    }

    package func append<T: FixedWidthInteger>(littleEndian value: T) {
        withUnsafeBytes(of: value.littleEndian) { append($0) }
    }

    /// Overwrites the bytes at `offset` from the front with `value`.
    package func overwrite<T: FixedWidthInteger>(at offset: Int, littleEndian value: T) {
        assert(offset + MemoryLayout<T>.size <= count)
        withUnsafeBytes(of: value.littleEndian) { _ = memcpy(base + start + offset, $0.baseAddress!, $0.count) }
    }

    package var string: String { String(decoding: bytes, as: UTF8.self) }
}
