internal import CZstd

/// Zstandard frames (RFC 8878), each on its own.
///
/// Thread rule: one thread at a time: the contexts are kept between frames.
package final class Zstd: @unchecked Sendable {
    private let compressor: OpaquePointer
    private let decompressor: OpaquePointer

    package init() {
        guard let compressor = ZSTD_createCCtx(), let decompressor = ZSTD_createDCtx() else {
            preconditionFailure("zstd has no memory")
        }
        self.compressor = compressor
        self.decompressor = decompressor
    }

    deinit {
        ZSTD_freeCCtx(compressor)
        ZSTD_freeDCtx(decompressor)
    }

    /// One frame; nil when it would save less than a tenth.
    package func compress(_ bytes: UnsafeRawBufferPointer, level: Int32) -> [UInt8]? {
        let room = bytes.count - bytes.count / 10
        guard room > 0 else { return nil }
        var isTooLong = false
        let frame = [UInt8](unsafeUninitializedCapacity: room) { out, count in
            let size = ZSTD_compressCCtx(compressor, out.baseAddress, room, bytes.baseAddress, bytes.count, level)
            isTooLong = ZSTD_isError(size) != 0
            count = isTooLong ? 0 : size
        }
        return isTooLong ? nil : frame
    }

    /// nil: it is no whole frame of at most `bytesMax` bytes.
    package func decompress(_ frame: UnsafeRawBufferPointer, bytesMax: Int) -> [UInt8]? {
        var isDamaged = false
        let bytes = [UInt8](unsafeUninitializedCapacity: bytesMax) { out, count in
            let size = ZSTD_decompressDCtx(decompressor, out.baseAddress, bytesMax, frame.baseAddress, frame.count)
            isDamaged = ZSTD_isError(size) != 0
            count = isDamaged ? 0 : size
        }
        return isDamaged ? nil : bytes
    }
}
