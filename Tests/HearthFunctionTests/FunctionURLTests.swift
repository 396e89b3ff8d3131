import HearthFunction
import Testing

@Suite struct FunctionURLTests {
    private func request(_ rest: String) throws -> FunctionURLRequest {
        try JSON.decode(
            from: Array(
                """
                {"version":"2.0","routeKey":"$default","rawPath":"/a b","headers":{"host":"x"},"requestContext":{"accountId":"anonymous",
                "domainName":"x","http":{"method":"POST","path":"/a b","protocol":"HTTP/1.1","sourceIp":"127.0.0.1","userAgent":""},
                "requestId":"r","timeEpoch":1700000000000}\(rest)}
                """.utf8))
    }

    @Test func requestsAreReadWithAndWithoutTheirOptionalParts() throws {
        let bare = try request("")
        #expect(bare.method == "POST" && bare.rawPath == "/a b" && bare.body.isEmpty && bare.cookies.isEmpty)
        #expect(bare.queryStringParameters.isEmpty && bare.rawQueryString.isEmpty && bare.headers == ["host": "x"])
        let full = try request(
            #","rawQueryString":"n=1","queryStringParameters":{"n":"1,2"},"cookies":["a=b"],"body":"{\"n\":[1]}","isBase64Encoded":false"#)
        #expect(full.queryStringParameters == ["n": "1,2"] && full.cookies == ["a=b"] && full.rawQueryString == "n=1")
        #expect(try full.json([String: [Int]].self) == ["n": [1]] && full.text == #"{"n":[1]}"#)
        #expect(throws: DecodingError.self) { try JSON.decode(FunctionURLRequest.self, from: Array("{}".utf8)) }
    }

    /// RFC 4648 §10, and what it forbids.
    @Test func bodiesInBase64AreBytes() throws {
        for (text, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmE=", "fooba"), ("Zm9vYmFy", "foobar")] {
            #expect(try request(#","body":"\#(text)","isBase64Encoded":true"#).text == plain)
            let response = try JSON.encode(FunctionURLResponse(bytes: Array(plain.utf8)))
            #expect(String(decoding: response, as: UTF8.self).contains(#""body":"\#(text)","isBase64Encoded":true"#))
        }
        let all = (0...255).map { UInt8($0) }
        let encoded = String(decoding: try JSON.encode(FunctionURLResponse(bytes: all)), as: UTF8.self)
        let body = try #require(encoded.split(separator: #""body":""#).last?.split(separator: "\"").first)
        #expect(try request(#","body":"\#(body)","isBase64Encoded":true"#).body == all)
        for bad in ["Zg=", "Zg", "Zh==", "Zm9=", "Zm9v====", "Z===", "Zm 9", "=Zm9", "Zm-_", "é==="] {
            #expect(throws: DecodingError.self, "\(bad)") { try request(#","body":"\#(bad)","isBase64Encoded":true"#) }
        }
    }

    @Test func responsesHaveATypeUnlessTheyNameOne() throws {
        func text(_ response: FunctionURLResponse) throws -> String { String(decoding: try JSON.encode(response), as: UTF8.self) }
        #expect(
            try text(FunctionURLResponse(text: "é"))
                == #"{"statusCode":200,"headers":{"content-type":"text/plain; charset=utf-8"},"cookies":[],"body":"é","isBase64Encoded":false}"#)
        #expect(
            try text(FunctionURLResponse(statusCode: 404, headers: ["Content-Type": "text/html"], cookies: ["a=b"], text: ""))
                == #"{"statusCode":404,"headers":{"Content-Type":"text/html"},"cookies":["a=b"],"body":"","isBase64Encoded":false}"#)
        #expect(
            try text(FunctionURLResponse(json: ["a": 1]))
                == #"{"statusCode":200,"headers":{"content-type":"application/json"},"cookies":[],"body":"{\"a\":1}","isBase64Encoded":false}"#)
    }
}
