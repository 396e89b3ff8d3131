internal import Base

/// Writes S3's documents: elements with text, nested by closures.
package struct XMLWriter {
    package static let namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    fileprivate let buffer = ByteBuffer(capacity: 1024)

    package var bytes: [UInt8] { Array(buffer.bytes) }

    /// A document whose root has S3's namespace.
    package static func document(_ root: StaticString, isNamespaced: Bool = true, _ body: (XMLWriter) -> Void) -> [UInt8] {
        let xml = XMLWriter()
        xml.buffer.append("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" as StaticString)
        xml.buffer.append("<" as StaticString)
        xml.buffer.append(root)
        if isNamespaced {
            xml.buffer.append(" xmlns=\"" as StaticString)
            xml.buffer.append(namespace)
            xml.buffer.append("\"" as StaticString)
        }
        xml.buffer.append(">" as StaticString)
        body(xml)
        xml.end(root)
        return xml.bytes
    }

    package func element(_ name: StaticString, attributes: StaticString = "", _ body: (XMLWriter) -> Void) {
        begin(name, attributes)
        body(self)
        end(name)
    }

    package func element(_ name: StaticString, _ text: String) { element(name, Array(text.utf8)) }

    package func element(_ name: StaticString, _ value: Int64) { element(name, String(value)) }

    package func element(_ name: StaticString, _ value: Int) { element(name, String(value)) }

    package func element(_ name: StaticString, _ value: Bool) { element(name, value ? "true" : "false") }

    package func element(_ name: StaticString, _ text: [UInt8]) {
        begin(name, "")
        for byte in text { append(byte) }
        end(name)
    }

    /// Nothing for nil.
    package func optional(_ name: StaticString, _ text: String?) {
        if let text { element(name, text) }
    }

    fileprivate func append(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "&"): buffer.append("&amp;" as StaticString)
        case UInt8(ascii: "<"): buffer.append("&lt;" as StaticString)
        case UInt8(ascii: ">"): buffer.append("&gt;" as StaticString)
        case UInt8(ascii: "\""): buffer.append("&quot;" as StaticString)
        case 0x09, 0x0A, 0x20...: buffer.append(byte)
        // XML 1.0 has no way to say the other control characters; S3 writes them so. Clients ask for encoding-type=url.
        default: buffer.append("&#\(byte);")
        }
    }

    private func begin(_ name: StaticString, _ attributes: StaticString) {
        buffer.append(UInt8(ascii: "<"))
        buffer.append(name)
        buffer.append(attributes)
        buffer.append(UInt8(ascii: ">"))
    }

    private func end(_ name: StaticString) {
        buffer.append("</" as StaticString)
        buffer.append(name)
        buffer.append(UInt8(ascii: ">"))
    }
}

extension XMLElement {
    /// The tree as a document of S3.
    package var document: [UInt8] {
        let xml = XMLWriter(root: name)
        xml.content(self)
        xml.finish(root: name)
        return xml.bytes
    }
}

extension XMLWriter {
    fileprivate init(root: String) {
        buffer.append("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<\(root) xmlns=\"\(Self.namespace)\">")
    }

    fileprivate func finish(root: String) { buffer.append("</\(root)>") }

    fileprivate func content(_ element: XMLElement) {
        if element.children.isEmpty { for byte in element.text.utf8 { append(byte) } }
        for child in element.children {
            buffer.append("<\(child.name)>")
            content(child)
            buffer.append("</\(child.name)>")
        }
    }
}
