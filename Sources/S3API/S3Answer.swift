internal import Base
internal import HTTP
internal import Net
internal import Objects
internal import UV

/// An answer before it is sent.
struct S3Answer: Sendable {
    enum Body: Sendable {
        case none
        case document([UInt8])
        case json([UInt8])
        /// The bytes of an object; the fields say their type.
        case object(ObjectReader)
        /// The length that a body would have: for HEAD.
        case length(Int64)
    }

    var status: Int
    var fields: [HeaderField]
    var body: Body

    init(_ status: Int = 200, _ fields: [HeaderField] = [], body: Body = .none) {
        self.status = status
        self.fields = fields
        self.body = body
    }

    static func document(_ bytes: [UInt8], _ fields: [HeaderField] = []) -> S3Answer { S3Answer(200, fields, body: .document(bytes)) }
    static let empty = S3Answer()
    static let noContent = S3Answer(204)

    /// Sends it; an object's bytes follow as the other side takes them.
    ///
    /// Thread rule: the loop's thread.
    func send(on connection: HTTPConnection, id: String, loop: Loop) {
        guard connection.isOpen else { return }
        connection.begin(status)
        let output = connection.output
        output.appendField("x-amz-request-id", id)
        output.appendField("x-amz-id-2", S3Request.hostID)
        output.append("Server: Hearth\r\n" as StaticString)
        for field in fields { Self.append(field, to: output) }
        switch body {
        case .none:
            if status == 204 || status == 304 { return connection.endWithoutBody() }
            connection.end(UnsafeRawBufferPointer(start: nil, count: 0))
        case .document(let bytes):
            output.append("Content-Type: application/xml\r\n" as StaticString)
            bytes.withUnsafeBytes { connection.end($0) }
        case .json(let bytes):
            output.append("Content-Type: application/json\r\n" as StaticString)
            bytes.withUnsafeBytes { connection.end($0) }
        case .length(let length):
            connection.beginLength(UInt64(length))
            connection.endLength()
        case .object(let reader):
            if let whole = reader.whole { return whole.withUnsafeBytes { connection.end($0) } }
            connection.beginLength(UInt64(reader.head.range.count))
            ObjectPump(reader, connection, loop).start()
        }
    }

    /// Values of objects' metadata come from clients: what would end the line is left out.
    private static func append(_ field: HeaderField, to output: ByteBuffer) {
        output.append(field.name)
        output.append(": " as StaticString)
        for byte in field.value.utf8 where byte >= 0x20 && byte != 0x7F || byte == 0x09 { output.append(byte) }
        output.append("\r\n" as StaticString)
    }
}

/// Carries an object's bytes to a connection: one piece is read ahead while the other side takes the one before.
///
/// Invariants:
///  1. At most one piece is asked for, and none while one waits.
///  2. Nothing is sent while more than `Limits.unsentBytesMax` wait for the other side.
///
/// Thread rule: the loop's thread; the store answers on its own.
final class ObjectPump: PendingAnswer {
    private let reader: ObjectReader
    private let connection: HTTPConnection
    private let loop: Loop
    private var waiting: Chunk?
    private var isAsking = false
    private var isOver = false

    init(_ reader: ObjectReader, _ connection: HTTPConnection, _ loop: Loop) {
        self.reader = reader
        self.connection = connection
        self.loop = loop
    }

    func start() {
        connection.pending = self
        ask()
    }

    private func ask() {
        guard !isOver, !isAsking, waiting == nil else { return }
        isAsking = true
        let box = LoopBound(self, on: loop)
        reader.next { [remote = loop.remote] result in
            remote.post { box.wrapped.came(result) }
        }
    }

    private func came(_ result: Result<Chunk?, ObjectsError>) {
        isAsking = false
        guard !isOver else { return }
        switch result {
        case .success(nil):
            isOver = true
            connection.endLength()
        case .success(let chunk):
            waiting = chunk
            canWrite()
        case .failure:
            // The head is out: only a broken connection tells the other side that these are not the object's bytes.
            isOver = true
            connection.close()
        }
    }

    func canWrite() {
        guard !isOver, let chunk = waiting, connection.queuedBytes <= Limits.unsentBytesMax else { return }
        waiting = nil
        // The next is read while this one is sent.
        ask()
        connection.send(chunk.bytes)
    }

    func clientWentAway() {
        isOver = true
        waiting = nil
    }
}
