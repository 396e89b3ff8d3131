import HearthFunction

/// How the function is called: with `{"n": 60}`, or over HTTP as `/primes/?n=60`.
enum Question: Decodable {
    case direct(UInt64)
    case http(FunctionURLRequest)

    private enum Keys: CodingKey { case n, requestContext }

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: Keys.self)
        self = members.contains(.requestContext)
            ? .http(try FunctionURLRequest(from: decoder)) : .direct(try members.decode(UInt64.self, forKey: .n))
    }
}

struct Factors: Encodable {
    let n: UInt64
    let isPrime: Bool
    let factors: [UInt64]

    init(of n: UInt64) {
        self.n = n
        factors = primeFactors(of: n)
        isPrime = factors == [n]
    }
}

enum Answer: Encodable {
    case direct(Factors)
    case http(FunctionURLResponse)

    func encode(to encoder: any Encoder) throws {
        switch self {
        case .direct(let factors): try factors.encode(to: encoder)
        case .http(let response): try response.encode(to: encoder)
        }
    }
}

func answer(_ request: FunctionURLRequest) throws -> FunctionURLResponse {
    let text = request.queryStringParameters["n"] ?? String(request.rawPath.drop { $0 == "/" })
    guard let n = UInt64(text) else {
        return try FunctionURLResponse(
            statusCode: 400, json: ["error": "n must be a whole number from 0 to \(UInt64.max): ask for example /primes/?n=60"])
    }
    return try FunctionURLResponse(json: Factors(of: n))
}

run { (question: Question, context) in
    switch question {
    case .direct(let n): Answer.direct(Factors(of: n))
    case .http(let request): Answer.http(try answer(request))
    }
}
