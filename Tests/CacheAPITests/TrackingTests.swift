import Testing

@testable import CacheAPI

@Suite struct TrackingTests {
    /// A client that tracks, one that hears of it for a client of RESP2, and one that changes keys.
    private func three() throws -> (reader: Client, ear: Client, writer: Client) {
        let face = try Face()
        let ear = face.client()
        #expect(ear.send("SUBSCRIBE", "__redis__:invalidate") == "*3|$9|subscribe|$20|__redis__:invalidate|:1|")
        return (face.client(), ear, face.client())
    }

    @Test func aClientOfRESP2HearsThroughAnother() throws {
        let (reader, ear, writer) = try three()
        #expect(
            reader.check([
                ("CLIENT TRACKING on REDIRECT \(ear.session.id)", "+OK|"), ("SET a 1", "+OK|"), ("SET b 1", "+OK|"), ("GET a", "$1|1|"),
                ("INCR b", ":2|"), ("CLIENT GETREDIR", ":\(ear.session.id)|"),
            ]) == [])
        #expect(ear.read() == "", "a key that was not read is not told of")
        #expect(writer.send("INCR", "a") == ":2|" && ear.read() == "*3|$7|message|$20|__redis__:invalidate|*1|$1|a|")
        #expect(writer.send("INCR", "a") == ":3|" && ear.read() == "", "told of once for each time it is read")
        // off, on as a broadcast: what was read before is nobody's any more
        #expect(reader.check([("MGET a b c", "*3|$1|3|$1|2|$-1|"), ("CLIENT TRACKING off", "+OK|"), ("CLIENT TRACKING on BCAST REDIRECT \(ear.session.id)", "+OK|")]) == [])
        #expect(writer.send("MSET", "a", "1", "b", "2") == "+OK|")
        #expect(ear.read() == "*3|$7|message|$20|__redis__:invalidate|*2|$1|a|$1|b|")
        #expect(writer.send("FLUSHALL") == "+OK|" && ear.read() == "*3|$7|message|$20|__redis__:invalidate|$-1|")
        ear.close()
        #expect(reader.send("CLIENT", "TRACKINGINFO").contains("broken_redirect") == true)
    }
}
