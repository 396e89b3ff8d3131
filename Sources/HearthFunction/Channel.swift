@preconcurrency internal import Glibc

/// The pipes to the server: invocations come from descriptor 3, answers go to descriptor 4.
///
/// Frames as `Sources/Sandbox/InvocationMessage.swift` describes them. Compiled functions carry this code with them and
/// outlive servers, so that format may grow new kinds, but not change these. One invocation at a time; the end of
/// descriptor 3 is the end of the process.
struct Channel {
    enum Answer: UInt8 { case result = 3, error = 4 }

    private static let input: CInt = 3
    private static let output: CInt = 4
    /// Length, kind, request id, deadline, and the lengths of version, ARN, trace id and client context.
    private static let headBytes = 4 + 1 + 36 + 8 + 1 + 2 + 2 + 4
    private static let bufferBytes = 1 << 16
    private static let keptBytesMax = 1 << 20

    private var buffer = [UInt8](repeating: 0, count: bufferBytes)
    private var filled = 0
    private var memory = PeakMemory()

    /// Ends the process with a sentence when nobody is at the other end.
    init() {
        guard Self.isPipe(Self.input), Self.isPipe(Self.output) else {
            Self.fail(
                getenv("AWS_LAMBDA_RUNTIME_API") == nil
                    ? "this is a Hearth function and does nothing by itself: deploy its directory with hearth deploy"
                    : "this function speaks Hearth's own protocol, not the Lambda Runtime API: deploy it with runtime = \"swift\"")
        }
        for descriptor in [Self.input, Self.output] { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        // What is printed reaches the log line by line, so that a crash loses none.
        fflush(nil)
        setvbuf(stdout, nil, _IOLBF, 0)
    }

    private static func isPipe(_ descriptor: CInt) -> Bool {
        var info = stat()
        return fstat(descriptor, &info) == 0 && info.st_mode & S_IFMT == S_IFIFO
    }

    private static func fail(_ sentence: String) -> Never {
        fputs("\(sentence)\n", stderr)
        exit(1)
    }

    /// Tells the server that invocations can come.
    mutating func ready() {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let nanoseconds = UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
        var body: [UInt8] = [1]
        // First line, begin and end of the import: a compiled function has all behind it when it gets here.
        for _ in 0..<3 { append(nanoseconds, to: &body) }
        append(memory.kibibytes(), to: &body)
        // The number of threads matters for forks only, and this process is never forked.
        append(UInt16(1), to: &body)
        var frame: [UInt8] = []
        append(UInt32(body.count), to: &frame)
        write(frame + body)
    }

    /// The next invocation; does not come back when there is none.
    mutating func next() -> (context: Context, event: [UInt8]) {
        while filled < 4 { fill() }
        let size = 4 + Int(number(UInt32.self, at: 0))
        guard size >= Self.headBytes, buffer[4] == 1 else { Self.fail("the server sent a frame that is no invocation") }
        if size > buffer.count { buffer.append(contentsOf: repeatElement(0, count: size - buffer.count)) }
        while filled < size { fill() }
        let lengths = [
            Int(buffer[49]), Int(number(UInt16.self, at: 50)), Int(number(UInt16.self, at: 52)), Int(number(UInt32.self, at: 54)),
        ]
        guard Self.headBytes + lengths.reduce(0, +) <= size else { Self.fail("the server sent a frame whose lengths are wrong") }
        var at = Self.headBytes
        func take(_ count: Int) -> ArraySlice<UInt8> {
            defer { at += count }
            return buffer[at..<at + count]
        }
        func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }
        let context = Context(
            requestID: text(buffer[5..<41]), deadlineEpochMilliseconds: number(UInt64.self, at: 41),
            functionVersion: text(take(lengths[0])), invokedFunctionARN: text(take(lengths[1])),
            traceID: text(take(lengths[2])), clientContext: Array(take(lengths[3])))
        let event = Array(buffer[at..<size])
        drop(size)
        return (context, event)
    }

    /// Forgets the first bytes, and the room that an unusually large event has needed.
    private mutating func drop(_ count: Int) {
        buffer.withUnsafeMutableBytes { bytes in
            bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[count..<filled]))
        }
        filled -= count
        if filled == 0, buffer.count > Self.keptBytesMax { buffer = [UInt8](repeating: 0, count: Self.bufferBytes) }
    }

    private mutating func fill() {
        let (from, count) = (filled, buffer.count - filled)
        let got = buffer.withUnsafeMutableBytes { read(Self.input, $0.baseAddress?.advanced(by: from), count) }
        if got > 0 {
            filled += got
        } else if got == 0 || errno != EINTR {
            exit(0)
        }
    }

    /// Answers the invocation that was taken last. What was printed for it goes out first.
    mutating func answer(_ answer: Answer, _ payload: [UInt8]) {
        fflush(nil)
        var frame: [UInt8] = []
        frame.reserveCapacity(9 + payload.count)
        append(UInt32(5 + payload.count), to: &frame)
        frame.append(answer.rawValue)
        append(memory.kibibytes(), to: &frame)
        frame.append(contentsOf: payload)
        write(frame)
    }

    private func write(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Glibc.write(Self.output, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { exit(0) }
            }
        }
    }

    private func append(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number {
        buffer.withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self)) }
    }
}

/// The highest resident memory of this process.
///
/// `VmHWM` of proc(5), because ru_maxrss may be the server's (it survives exec); read only after new page faults, for
/// without one the peak cannot have moved.
private struct PeakMemory {
    private let status = open("/proc/self/status", O_RDONLY | O_CLOEXEC)
    private var faults = -1
    private var peak: UInt32 = 0

    mutating func kibibytes() -> UInt32 {
        var usage = rusage()
        getrusage(0, &usage)  // RUSAGE_SELF, whose type Swift imports wrongly
        guard usage.ru_minflt + usage.ru_majflt != faults else { return peak }
        faults = usage.ru_minflt + usage.ru_majflt
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { room in
            let count = pread(status, room.baseAddress, room.count - 1, 0)
            guard count > 0 else { return }
            room[count] = 0
            guard let text = room.baseAddress?.assumingMemoryBound(to: CChar.self), let line = strstr(text, "VmHWM:") else { return }
            peak = UInt32(strtoul(line + 6, nil, 10))
        }
        return peak
    }
}
