internal import Base
internal import CUV
internal import Glibc

/// Who hears of a stream's bytes. Called on the loop's thread.
package protocol StreamDelegate: AnyObject {
    /// Bytes arrived; they are gone when this returns.
    func received(_ bytes: UnsafeRawBufferPointer)
    /// The other side has sent its last byte (`error` 0) or the stream broke (negative errno). Called once.
    func ended(error: CInt)
    /// Everything written has been handed to the kernel, after `write` had to queue some of it.
    func drained()
}

/// A connected byte stream: TCP or a pipe.
package class Stream: Handle {
    /// Held strongly; dropped at `close`.
    package var delegate: (any StreamDelegate)?
    private var isReading = false

    private var stream: UnsafeMutablePointer<uv_stream_t> { pointer(uv_stream_t.self) }

    package func startReading() {
        guard !isReading, isOpen else { return }
        isReading = true
        uv_read_start(
            stream,
            { raw, _, buffer in
                let shared = Handle.borrow(raw?.pointee.data, as: Stream.self).loop.readBuffer
                buffer?.pointee = uv_buf_init(
                    shared.baseAddress?.assumingMemoryBound(to: CChar.self), UInt32(shared.count))
            },
            { raw, count, buffer in
                let stream = Handle.borrow(raw?.pointee.data, as: Stream.self)
                if count > 0 {
                    stream.delegate?.received(UnsafeRawBufferPointer(start: buffer?.pointee.base, count: count))
                } else if count < 0 {
                    stream.stopReading()
                    stream.delegate?.ended(error: count == Int(UV_EOF.rawValue) ? 0 : CInt(count))
                }
            })
    }

    package func stopReading() {
        guard isReading else { return }
        isReading = false
        uv_read_stop(stream)
    }

    /// Bytes accepted by `write` that the kernel has not taken yet.
    package var queuedBytes: Int { isOpen ? uv_stream_get_write_queue_size(stream) : 0 }

    /// Writes `head`, then `body`: at once what the kernel takes (one system call), the rest copied and queued.
    ///
    /// A failed write closes nothing; the failure reaches the delegate through reading.
    package func write(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer = .init(start: nil, count: 0)) {
        guard isOpen else { return }
        let total = head.count + body.count
        guard total > 0 else { return }
        var written = 0
        withUnsafeTemporaryAllocation(of: uv_buf_t.self, capacity: 2) { buffers in
            buffers[0] = uv_buf_t(head)
            buffers[1] = uv_buf_t(body)
            let status =
                head.isEmpty
                ? uv_try_write(stream, buffers.baseAddress! + 1, 1)
                : uv_try_write(stream, buffers.baseAddress, body.isEmpty ? 1 : 2)
            written = status > 0 ? Int(status) : 0
        }
        if written == total { return }
        queue(
            UnsafeRawBufferPointer(rebasing: head[min(written, head.count)...]),
            UnsafeRawBufferPointer(rebasing: body[max(0, written - head.count)...]))
    }

    /// Copies what is left into one block behind its write request.
    private func queue(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer) {
        let offset = (MemoryLayout<uv_write_t>.size + 15) & ~15
        let count = head.count + body.count
        let block = UnsafeMutableRawPointer.allocate(byteCount: offset + count, alignment: 16)
        if let from = head.baseAddress { memcpy(block + offset, from, head.count) }
        if let from = body.baseAddress { memcpy(block + offset + head.count, from, body.count) }
        var buffer = uv_buf_init((block + offset).assumingMemoryBound(to: CChar.self), UInt32(count))
        let request = block.bindMemory(to: uv_write_t.self, capacity: 1)
        let status = uv_write(request, stream, &buffer, 1) { request, _ in
            guard let request else { return }
            // The request's handle is alive: libuv ends all requests before it calls back a close.
            let stream = Handle.borrow(request.pointee.handle?.pointee.data, as: Stream.self)
            UnsafeMutableRawPointer(request).deallocate()
            if stream.isOpen, stream.queuedBytes == 0 { stream.delegate?.drained() }
        }
        if status < 0 { block.deallocate() }
    }

    override func willClose() { delegate = nil }
}

extension uv_buf_t {
    fileprivate init(_ bytes: UnsafeRawBufferPointer) {
        // libuv does not write through a buffer that is being sent.
        let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress)?.assumingMemoryBound(to: CChar.self)
        self = uv_buf_init(base, UInt32(bytes.count))
    }
}

/// One end of an anonymous pipe; owns the descriptor.
package final class Pipe: Stream {
    package let descriptor: CInt

    /// Takes `descriptor` over; libuv makes it non-blocking.
    package init(loop: Loop, descriptor: CInt) throws(UVError) {
        self.descriptor = descriptor
        try super.init(loop: loop, type: UV_NAMED_PIPE, doing: "make a pipe") { loop, memory in
            uv_pipe_init(loop, memory.assumingMemoryBound(to: uv_pipe_t.self), 0)
        }
        let status = uv_pipe_open(pointer(uv_pipe_t.self), descriptor)
        if status < 0 {
            Glibc.close(descriptor)
            close()
            throw UVError(code: status, doing: "open a pipe")
        }
    }

    /// Reads, without waiting, what is in the pipe now and gives it to the delegate.
    ///
    /// No more than a pipe can hold (pipe(7): /proc/sys/fs/pipe-max-size): a writer may be filling it as fast as it is read. Not into the
    /// loop's buffer: the caller may be in the midst of what lies there.
    package func drainNow() {
        guard isOpen else { return }
        withUnsafeTemporaryAllocation(byteCount: Limits.readBufferBytes, alignment: 16) { buffer in
            for _ in 0..<(1 << 20) / buffer.count {
                let count = read(descriptor, buffer.baseAddress, buffer.count)
                guard count > 0 else { return }
                delegate?.received(UnsafeRawBufferPointer(start: buffer.baseAddress, count: count))
                if count < buffer.count { return }
            }
        }
    }
}
