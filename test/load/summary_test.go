package load

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
)

// verdict is one line of the summary.
type verdict struct {
	order                      int
	what, figure, wanted, said string
}

var summary []verdict

// tell adds a line with what was wanted, and whether it was met.
func tell(order int, what, figure, wanted string, met bool) {
	said := "NOT MET"
	if met {
		said = "met"
	}
	summary = append(summary, verdict{order, what, figure, wanted, said})
}

// tellOnly adds a line for which nothing was wanted.
func tellOnly(order int, what, figure string) {
	summary = append(summary, verdict{order: order, what: what, figure: figure})
}

// printSummary prints the lines in the order of the document, whatever order the benchmarks ran in.
func printSummary() {
	if len(summary) == 0 {
		return
	}
	slices.SortStableFunc(summary, func(a, b verdict) int { return cmp.Compare(a.order, b.order) })
	format := fmt.Sprintf("%%-%ds  %%-%ds  %%-%ds  %%s\n", widest(func(v verdict) string { return v.what }),
		widest(func(v verdict) string { return v.figure }), widest(func(v verdict) string { return v.wanted }))
	fmt.Printf("\n"+format, "", "this run", "wanted", "")
	for _, v := range summary {
		fmt.Printf(format, v.what, v.figure, v.wanted, v.said)
	}
	fmt.Printf("\n%d processors, load average %s\n\n", runtime.NumCPU(), others())
}

func widest(column func(verdict) string) int {
	width := 0
	for _, v := range summary {
		width = max(width, len([]rune(column(v))))
	}
	return width
}
