"""Draws the results as an SVG: bars beside each other, readable on a light and on a dark page."""

WIDTH = 720
LEFT = 210  # of the bars
RIGHT = 90  # room for the last value
BAR = 22
GAP = 8
PANEL_GAP = 26

STYLE = """
text { font: 14px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.note { font-size: 12px; fill: #57606a }
.televm { fill: #0969da } .qemu { fill: #a1a9b3 } .bare { fill: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #8d96a0 }
  .televm { fill: #4493f8 } .qemu { fill: #6e7681 } .bare { fill: #9ea7b3 }
}"""

# Title, divisor, unit, and the bars: row, monitor, label.
PANELS = [
    ("Boot of a microVM until its first program runs", 1e6, "M instructions", [
        ("boot-4k", "bare", "Linux without a hypervisor"),
        ("boot-2m", "televm", "TeleVM, huge pages"),
        ("boot-4k", "televm", "TeleVM"),
        ("boot-2m", "qemu", "QEMU, huge pages"),
        ("boot-4k", "qemu", "QEMU"),
    ]),
    ("The monitor alone, until a guest of one page prints", 1e6, "M instructions", [
        ("null", "televm", "TeleVM"),
        ("null", "qemu", "QEMU"),
    ]),
    ("Memory of an idle machine outside the guest's own", 1024 * 1024, "MiB", [
        ("rss-outside", "televm", "TeleVM"),
        ("rss-outside", "qemu", "QEMU"),
    ]),
]
NOTE = "1 vCPU, 128 MiB, the same kernel; emulated RISC-V host with the AIA, Linux KVM. make bench repeats it."


def text(x, y, content, kind=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{content}</text>'


def bars(y, values, divisor, unit):
    """The lines of one panel's bars from Y on; VALUES are (value, monitor, label)."""
    longest = max(value for value, _, _ in values)
    lines = []
    for i, (value, monitor, label) in enumerate(values):
        length = max((WIDTH - LEFT - RIGHT) * value / longest, 1)
        number = f"{value / divisor:.1f}" + (f" {unit}" if i == 0 else "")
        lines += [text(0, y + 16, label),
                  f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3" class="{monitor}"/>',
                  text(LEFT + length + 8, y + 16, number)]
        y += BAR + GAP
    return lines


def svg(rows, host):
    cells = {(row["name"], row["monitor"]): row["value"] for row in rows if row["host"] == host}
    lines, y = [], 16
    for title, divisor, unit, wanted in PANELS:
        values = [(cells[name, monitor], monitor, label) for name, monitor, label in wanted if (name, monitor) in cells]
        if not values:
            continue
        lines += [text(0, y, title, "title"), *bars(y + 12, values, divisor, unit)]
        y += 12 + len(values) * (BAR + GAP) + PANEL_GAP
    lines.append(text(0, y, NOTE, "note"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 8}" viewBox="0 0 {WIDTH} {y + 8}">'
    return "\n".join([head, f"<style>{STYLE}\n</style>", *lines, "</svg>"]) + "\n"


def write(rows, path, host="aia"):
    """Draw the rows of one kind of host into the file PATH."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(svg(rows, host))
