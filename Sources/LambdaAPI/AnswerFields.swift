internal import Base
internal import Catalog
internal import Invoker

/// The fields that every response of a function carries, whichever door it leaves by.
func appendAnswerFields(_ invocation: Invocation, _ outcome: InvocationOutcome, to out: ByteBuffer) {
    out.append("x-amzn-RequestId: ")
    out.append(invocation.id)
    out.append("\r\nX-Amz-Executed-Version: ")
    out.append(invocation.resolution.executedVersion)
    out.append("\r\nX-Hearth-Start: ")
    out.append(outcome.start.bytes)
    out.append("\r\nServer-Timing: queue;dur=")
    out.append(milliseconds: outcome.queue)
    out.append(", init;dur=")
    out.append(milliseconds: outcome.initTime)
    out.append(", run;dur=")
    out.append(milliseconds: outcome.run)
    out.append("\r\n")
}

/// `Root=1-8hex-24hex`: the trace that an invocation begins when its caller brought none (AWS X-Ray's format).
func appendTraceRoot(epochSeconds: UInt64, _ high: UInt64, _ low: UInt64, to out: ByteBuffer) {
    out.append("Root=1-")
    appendHex(epochSeconds, digits: 8, to: out)
    out.append("-")
    appendHex(high, digits: 8, to: out)
    appendHex(low, digits: 16, to: out)
}

private func appendHex(_ value: UInt64, digits: Int, to out: ByteBuffer) {
    let room = out.reserve(digits)
    for index in 0..<digits {
        let nibble = UInt8(truncatingIfNeeded: value >> UInt64((digits - 1 - index) * 4)) & 15
        room[index] = nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
    }
    out.commit(digits)
}
