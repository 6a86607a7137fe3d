package test_test

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// Two more rules of the architecture: everything exported says what it is, and every fuzz target begins with something.

// comments finds exported names without one.
func comments(s source) (problems []string) {
	if s.isTest() {
		return nil
	}
	missing := func(n *ast.Ident) {
		problems = append(problems, fmt.Sprintf("%s: %s is exported and has no comment", s.at(n), n.Name))
	}
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d.Recv) {
				missing(d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				for _, name := range undocumented(d, spec) {
					missing(name)
				}
			}
		}
	}
	return problems
}

func undocumented(d *ast.GenDecl, spec ast.Spec) (names []*ast.Ident) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			names = []*ast.Ident{spec.Name}
		}
	case *ast.ValueSpec: // a group of constants may share one comment
		if spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
			names = spec.Names
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(n *ast.Ident) bool { return !n.IsExported() })
}

func exportedReceiver(recv *ast.FieldList) bool {
	if recv == nil {
		return true
	}
	of := recv.List[0].Type
	for {
		switch t := of.(type) {
		case *ast.StarExpr:
			of = t.X
		case *ast.IndexExpr:
			of = t.X
		case *ast.IndexListExpr:
			of = t.X
		case *ast.Ident:
			return t.IsExported()
		default:
			return false
		}
	}
}

// packageComments finds rooms that don't say what they are for, or say it twice.
func packageComments(all []source) (problems []string) {
	said := map[string]int{}
	for _, s := range all {
		if s.isTest() {
			continue
		}
		said[s.room()] += 0
		if s.file.Doc != nil {
			said[s.room()]++
		}
	}
	for room, n := range said {
		if n != 1 {
			problems = append(problems, fmt.Sprintf("%s has %d package comments, want one", room, n))
		}
	}
	return problems
}

// unseeded finds fuzz targets that begin with nothing: they pass for ever without having tried anything. A target may leave
// the adding to another function of its package.
func unseeded(all []source) (problems []string) {
	adders := map[string]bool{} // functions that take a *testing.F and add to it, by package and name
	for range 2 {               // once more for those that another one adds for
		for _, f := range fuzzers(all) {
			adders[f.in+"."+f.Name.Name] = adders[f.in+"."+f.Name.Name] || f.adds(adders)
		}
	}
	for _, f := range fuzzers(all) {
		if strings.HasPrefix(f.Name.Name, "Fuzz") && !adders[f.in+"."+f.Name.Name] {
			problems = append(problems, fmt.Sprintf("%s: %s adds no seeds", f.at(f), f.Name.Name))
		}
	}
	return problems
}

// fuzzer is a function whose first parameter is a *testing.F.
type fuzzer struct {
	source
	*ast.FuncDecl
	in, f string
}

func fuzzers(all []source) (list []fuzzer) {
	for _, s := range all {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !s.isTest() || f.Recv != nil || len(f.Type.Params.List) == 0 || len(f.Type.Params.List[0].Names) == 0 {
				continue
			}
			first := f.Type.Params.List[0]
			pointer, _ := first.Type.(*ast.StarExpr)
			if pointer == nil {
				continue
			}
			if of, ok := pointer.X.(*ast.SelectorExpr); ok && of.Sel.Name == "F" {
				list = append(list, fuzzer{s, f, s.room(), first.Names[0].Name})
			}
		}
	}
	return list
}

func (f fuzzer) adds(adders map[string]bool) (found bool) {
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		helper, _ := call.Fun.(*ast.Ident)
		handsOn := helper != nil && len(call.Args) > 0 && isNamed(call.Args[0], f.f) && adders[f.in+"."+helper.Name]
		method, _ := call.Fun.(*ast.SelectorExpr)
		found = found || handsOn || method != nil && method.Sel.Name == "Add" && isNamed(method.X, f.f)
		return true
	})
	return found
}

func isNamed(e ast.Expr, name string) bool {
	of, ok := e.(*ast.Ident)
	return ok && of.Name == name
}
