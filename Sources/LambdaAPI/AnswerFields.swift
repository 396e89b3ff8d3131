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
