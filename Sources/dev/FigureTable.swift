import Foundation

/// Figures for people and for programs.
enum FigureTable {
    private static let heads = ["figure", "Hearth", "peer", "ratio", "goal", "met"]

    static func text(_ figures: [Figure]) -> String {
        let rows = [heads] + figures.map { figure in
            [
                figure.name,
                "\(number(figure.hearth)) \(figure.unit)",
                figure.peer.map { "\($0.name) \($0.value.map { number($0) } ?? "not installed")" } ?? "–",
                figure.ratio.map { number($0) } ?? "–",
                figure.goalText,
                figure.isMet.map { $0 ? "yes" : "NO" } ?? "–",
            ]
        }
        let widths = heads.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = zip(row, widths).map { text, width in text + String(repeating: " ", count: width - text.count) }
            return cells.joined(separator: "  ").trimmingCharacters(in: .whitespaces)
        }.joined(separator: "\n")
    }

    private struct Row: Encodable {
        var figure: String
        var unit: String
        var hearth: Double
        var peer: String?
        var peerValue: Double?
        var ratio: Double?
        var goal: String
        var met: Bool?
    }

    static func json(_ figures: [Figure]) throws -> String {
        let rows = figures.map { figure in
            Row(
                figure: figure.name, unit: figure.unit, hearth: figure.hearth, peer: figure.peer?.name,
                peerValue: figure.peer?.value, ratio: figure.ratio, goal: figure.goalText, met: figure.isMet)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(rows), as: UTF8.self)
    }
}
