import Base
import HTTP
import Testing

@Suite struct RoutePatternTests {
    private func matches(_ pattern: String, _ path: String) throws -> Bool {
        let pattern = try RoutePattern(pattern)
        return Array(path.utf8).withUnsafeBytes { pattern.matches($0) }
    }

    @Test func aPatternMeansWholeSegmentsAndItsStarTheRest() throws {
        let cases: [(String, [String], [String])] = [
            ("/", ["/"], ["", "/a", "//"]), ("/items", ["/items"], ["/items/", "/item", "/itemsx", "items", "/Items", "/items/1"]),
            ("/items/", ["/items/"], ["/items", "/items/1"]), ("/items/*", ["/items/", "/items/1", "/items/1/2", "/items//"], ["/items", "/itemsx/1"]),
            ("/*", ["/", "/a", "/a/b"], ["", "a"]), ("/{a}", ["/x", "/%2F"], ["/", "/x/", "/x/y"]),
            ("/a/{b}/c", ["/a/1/c"], ["/a//c", "/a/1/2/c", "/a/1/c/", "/a/1"]), ("/{a}/*", ["/x/", "/x/y/z"], ["/x", "//y"]),
            ("/%41", ["/%41"], ["/A"]),
        ]
        for (pattern, yes, no) in cases {
            for path in yes { #expect(try matches(pattern, path), "\(pattern) means \(path)") }
            for path in no { #expect(try !matches(pattern, path), "\(pattern) does not mean \(path)") }
        }
        let pattern = try RoutePattern("/a/{id}/{x-y}")
        Array("/a/7%2F/q".utf8).withUnsafeBytes { path in
            #expect(pattern.parameter(Array("id".utf8), in: path)?.elementsEqual("7%2F".utf8) == true)
            #expect(pattern.parameter(Array("x-y".utf8), in: path)?.elementsEqual("q".utf8) == true)
            #expect(pattern.parameter(Array("z".utf8), in: path) == nil)
        }
    }

    @Test func whatIsNoPatternOrNoPartOfAKeyIsRefused() throws {
        for text in ["", "a", "*", "/*/a", "/a*", "/a/{}", "/{a}/{a}", "/{a b}", "/{a}b", "/a?b", "/a#", "/a b", "/ä", "/*/*"] {
            #expect(throws: RoutePattern.Fault.self, "\(text)") { try RoutePattern(text) }
        }
        let pattern = try RoutePattern("/{id}")
        #expect(try RouteKeyPart("header.Accept-Language", of: pattern) == .header(Array("accept-language".utf8)))
        #expect(try RouteKeyPart("path.id", of: pattern) == .parameter(Array("id".utf8)))
        #expect(try RouteKeyPart("query.a.b", of: pattern) == .queryValue(Array("a.b".utf8)))
        for text in ["", "path.", "path.x", "query.", "header", "header.a b", "header.", "body", "Path", "cookie.a"] {
            #expect(throws: RoutePattern.Fault.self, "\(text)") { try RouteKeyPart(text, of: pattern) }
        }
    }
}
