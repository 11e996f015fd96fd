package lint

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSleepsAreFound(t *testing.T) {
	sleep := "package a\nimport \"time\"\nfunc f() { time.Sleep(time.Second) }\n"
	one(t, checkSleeps, files{"a/a.go": sleep}, "a/a.go:3: time.Sleep", "context")
	one(t, checkSleeps, files{"a/a_test.go": sleep}, "a/a_test.go:3: time.Sleep", "Eventually")
	one(t, checkSleeps, files{"a/a.go": "package a\nimport clock \"time\"\nvar f = clock.Sleep\n"}, "a/a.go:3: time.Sleep")
	one(t, checkSleeps, files{"a/a.go": "package a\nfunc f(time sleeper) { time.Sleep() } // \"time.Sleep\"\n"})
	one(t, checkSleeps, files{"a/testdata/a.go": "this is not Go, and does not matter"})
}

func TestSkipsAreFound(t *testing.T) {
	one(t, checkSkips, files{"a/a_test.go": "package a\nfunc TestX(t *testing.T) {\n\tt.Skip(\"later\")\n}\n"}, "a/a_test.go:3: t.Skip")
	one(t, checkSkips, files{"a/atest/a.go": "package atest\nfunc Start(tb testing.TB) { tb.SkipNow() }\n"}, "a/atest/a.go:2: tb.SkipNow")
	one(t, checkSkips, files{"a/a.go": "package a\nfunc f(t *table) { t.Skip() }\n"})
	one(t, checkSkips, files{"a/a_test.go": "package a\nvar _ = policy.Skip\n"})
}

func TestPanicsAreFound(t *testing.T) {
	one(t, checkPanics, files{"a/a.go": "package a\nfunc f() { panic(\"no\") }\n"}, "a/a.go:2: panic")
	one(t, checkPanics, files{"a/a_test.go": "package a\nfunc f() { panic(\"no\") }\n"})
	one(t, checkPanics, files{"a/a.go": "package a\nfunc f() { recover(); x.panic() } // panic(1)\n"})
}

func TestClocksAreFound(t *testing.T) {
	now := "package a\nimport \"time\"\nvar now = time.Now\nvar d = 3 * time.Second\n"
	one(t, checkClocks, files{"join/a.go": now}, "join/a.go:3: time.Now")
	one(t, checkClocks, files{"processor/internal/engine/a.go": now}, "processor/internal/engine/a.go:3")
	one(t, checkClocks, files{"processor/a.go": now, "join/a_test.go": now})
}

func TestPackageNamesAreFound(t *testing.T) {
	one(t, checkPackageNames, files{"a/util/a.go": "package util\n"}, "a/util/a.go:1: package util")
	one(t, checkPackageNames, files{"a/a_test.go": "package common_test\n"}, "a/a_test.go:1: package common")
	one(t, checkPackageNames, files{"a/a.go": "package typescript\n"})
}

func TestVariablesAreFound(t *testing.T) {
	one(t, checkVariables, files{"a/a.go": "package a\nvar (\n\tErrGone = 1\n\tDefault = 2\n)\n"}, "a/a.go:4: var Default")
	one(t, checkVariables, files{"a/a.go": "package a\nvar Errors []error\n"}, "a/a.go:2: var Errors")
	one(t, checkVariables, files{
		"a/a.go":          "package a\nconst Max = 1\nvar most = 2\nvar _ = most\nfunc f() { var X int; _ = X }\n",
		"a/a_test.go":     "package a\nvar Update bool\n",
		"examples/x/a.go": "package x\nvar Metrics = 1\n",
		"cmd/x/main.go":   "package main\nvar Version string\n",
	})
}

func TestParametersAreFound(t *testing.T) {
	head := "package a\nimport \"context\"\n"
	one(t, checkParameters, files{"a/a.go": head + "func F(ctx context.Context, a, b, c, d int) {}\n"})
	one(t, checkParameters, files{"a/a.go": head + "func F(a, b, c int, d, e string) {}\n"}, "a/a.go:3: func F has 5 parameters")
	one(t, checkParameters, files{"a/a.go": head + "func f(a int, _ context.Context) {}\n"}, "a/a.go:3: func f: the context comes first")
	one(t, checkParameters, files{"a/a.go": head + "func f(a, b, c, d, e int) {}\n"})
}

func TestPackageCommentsAreAsked(t *testing.T) {
	doc := "// Package a does.\npackage a\n"
	one(t, checkPackageComments, files{"a/a.go": doc, "a/b.go": "// Copyright\n\npackage a\n", "a/c_test.go": "package a_test\n"})
	one(t, checkPackageComments, files{"a/a.go": "package a\n", "a/b.go": "package a\n"}, "a: package a has no package comment", "a/doc.go")
	one(t, checkPackageComments, files{"a/a.go": "// Does.\npackage a\n"}, "a/a.go:2: the package comment must begin with")
	one(t, checkPackageComments, files{"a/a.go": doc, "a/b.go": doc}, "a/b.go:2: package a has a second package comment", "a/a.go")
	one(t, checkPackageComments, files{"a/a.go": "// Package a does.\n" + strings.Repeat("// More.\n", 130) + "package a\n"}, "a/a.go:132: the package comment has 131 lines")
	one(t, checkPackageComments, files{"a/main.go": "// The program a.\npackage main\n"})
	one(t, checkPackageComments, files{"a/a_test.go": "package a\n"})
}

func TestLengthsAreBounded(t *testing.T) {
	long := "package a\n" + strings.Repeat("\n", maxLines)
	one(t, checkLengths, files{"a/a.go": long}, "a/a.go: has more than 600 lines")
	one(t, checkLengths, files{"a/a_test.go": long, "a/a.go": long[:maxLines]})
}

func TestCommentsAreAsked(t *testing.T) {
	for code, name := range map[string]string{
		"func F() {}":                             "F",
		"func (t T[A, B]) M() {}":                 "M",
		"func (t *T[A]) M() {}":                   "M",
		"type T int":                              "T",
		"// Both.\ntype (\n\tT int\n)":            "T",
		"const C = 1":                             "C",
		"var (\n\ta = 1\n\tErrX = 2\n)":           "ErrX",
		"// F does.\n\nfunc F() {}":               "F",
		"type (\n\t// T is.\n\tT int\n\tU int\n)": "U",
	} {
		got := run(t, checkComments, files{"a/a.go": "package a\n" + code + "\n"})
		require.Len(t, got, 1, code)
		require.Contains(t, got[0], ": "+name+" has no comment", code)
	}
	for _, code := range []string{
		"// F does.\nfunc F() {}", "func f() {}", "func (t t) M() {}", "// T is.\ntype T int", "type t int",
		"// Colours.\nconst (\n\tRed = 1\n\tBlue = 2\n)", "const (\n\tRed = 1 // as blood\n)",
	} {
		require.Empty(t, run(t, checkComments, files{"a/a.go": "package a\n" + code + "\n"}), code)
	}
	require.Empty(t, run(t, checkComments, files{"a/main.go": "package main\nfunc F() {}\n", "a/a_test.go": "package a\nfunc TestX() {}\n"}))
}

func TestFileMapIsTrue(t *testing.T) {
	code := "package a\n"
	text := "# Design\n\n## File map\n\nWords.\n\n- `a/a.go`: what it does,\n  with `b.go` in it\n- `a/x.json`, `a/y.json`: data\n\n## Other\n\n- `a/none.go`: not ours\n"
	good := files{"a/a.go": code, "a/a_test.go": code, "a/x.json": "{}", "a/y.json": "{}", "DESIGN.md": text}
	one(t, checkFileMap, good)
	with := func(name, content string) files {
		in := files{name: content}
		for n, c := range good {
			if n != name {
				in[n] = c
			}
		}
		return in
	}
	one(t, checkFileMap, with("a/b.go", code), "a/b.go: is not in the file map", "- `a/b.go`")
	one(t, checkFileMap, with("DESIGN.md", strings.Replace(text, "a/y.json", "a/z.json", 1)), "DESIGN.md:9: lists a/z.json, which does not exist")
	one(t, checkFileMap, with("DESIGN.md", strings.Replace(text, "a/x.json", "a/a.go", 1)), "DESIGN.md:9: lists a/a.go again, after line 7")
	one(t, checkFileMap, with("DESIGN.md", strings.Replace(text, ": what it does,", "", 1)), "DESIGN.md:7: says nothing of a/a.go")
	one(t, checkFileMap, with("DESIGN.md", "# Design\n\n```\n## File map\n```\n"), "DESIGN.md: has no section \"## File map\"")
	one(t, checkFileMap, files{"a/a.go": code}, "DESIGN.md: has no section")
}

func TestGoroutineTableIsTrue(t *testing.T) {
	table := "## Goroutines\n\n| starts in | ends when |\n|---|---|\n| `a/a.go` Run | `b/b.go` says so |\n"
	for _, start := range []string{"go f()", "go func() {}()", "wg.Go(f)", "group.TryGo(func() error { return nil })"} {
		code := "package a\nfunc f() {\n\t" + start + "\n}\n"
		one(t, checkGoroutines, files{"a/a.go": code, "DESIGN.md": table})
		one(t, checkGoroutines, files{"a/a.go": code, "a/b.go": code, "DESIGN.md": table}, "a/b.go:3: starts a goroutine")
		one(t, checkGoroutines, files{"a/a.go": code, "a/b_test.go": code, "DESIGN.md": table})
	}
	one(t, checkGoroutines, files{"a/a.go": "package a\nvar _ = strings.Go\n", "DESIGN.md": table}, "DESIGN.md:5: the table of goroutines names a/a.go, which starts none")
	one(t, checkGoroutines, files{"a/a.go": "package a\n"}, "DESIGN.md: has no section \"## Goroutines\"")
}

func TestTextsNameNoMachine(t *testing.T) {
	machine := "/" + "home/"
	one(t, checkTexts, files{"README.md": "Run it.\nSee `" + machine + "me/x`.\n"}, "README.md:2: "+machine)
	one(t, checkTexts, files{".ci/run": "cd " + machine + "me\n"}, ".ci/run:1: "+machine)
	one(t, checkTexts, files{"Makefile": "GOPROXY=https://" + "proxy." + "golang.org\n"}, "Makefile:1: proxy")
	one(t, checkTexts, files{
		"README.md":      "https://example.com" + machine + "page, ." + machine + "x and docs" + machine + "y\n",
		"a/testdata/log": machine + "me\n",
		"a/picture.png":  "\x00" + machine + "me\n",
		".git/config":    machine + "me\n",
	})
	one(t, checkTexts, files{".git": "gitdir: " + machine + "me\n"}) // of a second work tree	})
}
