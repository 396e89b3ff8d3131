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
        /// The fields say their type.
        case bytes([UInt8])
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
        case .bytes(let bytes): bytes.withUnsafeBytes { connection.end($0) }
        case .length(let length):
            connection.beginLength(UInt64(length))
            connection.endLength()
        case .object(let reader):
            if let whole = reader.whole { return whole.withUnsafeBytes { connection.end($0) } }
            connection.beginLength(UInt64(reader.head.range.count))
            BodyPump(connection, loop) { done in
                reader.next { result in
                    switch result {
                    case .success(let chunk?): done(.piece(chunk))
                    case .success(nil): done(.end)
                    case .failure: done(.broken)
                    }
                }
            }.start()
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

/// The bytes of one row, as they are read.
extension Chunk: BodyPiece {
    package func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) { body(bytes) }
}
