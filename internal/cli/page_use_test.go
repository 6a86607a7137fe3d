package cli

import (
	"slices"
	"strings"
	"testing"
)

const (
	secretsShown  = "#lines tbody th"
	bindingsShown = "#lines tbody td[data-label=Binding]"
	rowsShown     = "#matrix tbody th"
	columnsShown  = "#matrix thead tr:nth-child(2) th"
	vaultsShown   = "#matrix .vault"
)

// An auditor opens the page of an organisation, and asks it what auditors ask.
func TestPageInBrowser(t *testing.T) {
	b := newBrowser(t, surroundings{width: 1400, height: 1000})
	b.open(pageOf(t, "organisation.yaml", sample(t, "organisation.yaml")), "")
	b.picture("matrix")

	t.Run("the matrix comes first", func(t *testing.T) {
		b.want("rows", b.texts(rowsShown), "acme/**", "acme/api (uid 42)", "acme/api-jobs (uid 43)", "acme/web")
		b.want("vaults", b.texts(vaultsShown), "prod-emergency", "prod", "shared")
		b.want("lines", b.texts(secretsShown))
		b.want("cell", b.texts("#matrix tbody tr:nth-child(1) td:nth-of-type(4)"), "PU TA PR −")
	})
	t.Run("a search narrows both views", func(t *testing.T) {
		b.search("carol")
		b.want("rows", b.texts(rowsShown), "acme/api (uid 42)")
		b.want("columns", b.texts(columnsShown), "deploy-*")
		b.want("vaults", b.texts(vaultsShown), "prod-emergency")
		b.want("status", b.texts("#status"), "1 of "+total(b)+" lines · matrix: 1 of 4 rows, 1 of 7 columns · only “carol”")
		b.click("[data-view=list]")
		b.want("secrets", b.texts(secretsShown), "prod-emergency/deploy-*")
	})
	t.Run("a name in full finds the patterns that cover it", func(t *testing.T) {
		b.search("acme/anything")
		b.want("bindings", distinct(b.texts(bindingsShown)), "everybody organisation.yaml:15")
		b.search("prod/deploy-queue/user")
		b.want("secrets", distinct(b.texts(secretsShown)), "prod/deploy-*")
		b.search("SHARED/CI-token acme/web")
		b.want("secrets", distinct(b.texts(secretsShown)), "shared/ci-*")
		b.search("prod/other")
		b.want("nothing", b.texts("#nothing"), "No line matches. That says nothing about access unless the search is empty and every event is on.")
		b.search("")
	})
	t.Run("titles sort, both ways and by keyboard", func(t *testing.T) {
		all := b.texts(secretsShown)
		b.click("#lines thead th:nth-child(7) button")
		up := b.texts(bindingsShown)
		if !slices.IsSorted(up) || len(up) != len(all) {
			t.Errorf("by binding: %q", up)
		}
		b.press("#lines thead th:nth-child(7) button", "\ue007")
		down := b.texts(bindingsShown)
		slices.Reverse(down)
		if !slices.IsSorted(down) || b.ask(`document.querySelector("[aria-sort]").ariaSort`) != "descending" {
			t.Errorf("by binding, downwards: %q", down)
		}
		b.click("#lines thead th:nth-child(2) button")
		b.want("by secret again", b.texts(secretsShown), all...)
		b.picture("list")
	})
	t.Run("events can be left out", func(t *testing.T) {
		b.click("#only")
		b.want("with pull requests", distinct(b.texts(bindingsShown)), "everybody organisation.yaml:15")
		b.click("[data-view=matrix]")
		if marks := b.texts("#matrix .mark"); len(distinct(marks)) != 1 || marks[0] != "PR" {
			t.Errorf("marks %q", marks)
		}
		b.want("vaults", b.texts(vaultsShown), "shared")
		b.click("#only")
		for _, event := range []string{"promote", "rollback", "push", "tag", "cron", "pull_request"} {
			b.click("[name=event][value=" + event + "]")
		}
		b.want("rows with custom", b.texts(rowsShown), "acme/api (uid 42)")
		b.click("[name=event][value=custom]")
		b.want("no event at all", b.texts(rowsShown))
		for _, event := range []string{"promote", "rollback", "push", "tag", "cron", "pull_request", "custom"} {
			b.click("[name=event][value=" + event + "]")
		}
	})
	t.Run("a cell tells all", func(t *testing.T) {
		b.press("#matrix td button[tabindex='0']", "\ue015") // down, to the next cell of the column
		focused := `document.activeElement.closest("tr").querySelector("th").innerText`
		if got := b.ask(focused); got == "acme/**" || got == nil {
			t.Errorf("the focus is in %v", got)
		}
		if tip := b.texts("#tip"); len(tip) != 1 || !strings.Contains(tip[0], "organisation.yaml:") {
			t.Errorf("tip %q", tip)
		}
		b.click("#matrix tbody tr:nth-child(2) td:nth-of-type(1) button")
		b.want("title", b.texts("#detail h2"), "acme/api (uid 42) ← prod-emergency/deploy-*")
		detail := strings.Join(b.texts("#detail .gift"), "\n")
		for _, part := range []string{"emergency organisation.yaml:", "custom on hotfix/** by carol", "Except no-root organisation.yaml:", "root keys never reach CI"} {
			if !strings.Contains(detail, part) {
				t.Errorf("no %q in\n%s", part, detail)
			}
		}
		b.picture("detail")
		b.press("#close", "\ue007")
		b.want("closed", b.texts("#detail"))
	})
	b.want("complaints", b.complaints())
}

func total(b *browser) string {
	return b.ask(`String(document.querySelectorAll("#lines tbody tr").length)`).(string)
}

func distinct(list []string) []string {
	sorted := slices.Sorted(slices.Values(list))
	return slices.Compact(sorted)
}

// Names that try to be something else are text, in the page, the tip and the pane.
func TestHostilePageInBrowser(t *testing.T) {
	b := newBrowser(t, surroundings{width: 1200, height: 900, dark: true})
	b.open(pageOf(t, hostileFile, hostile), "")
	b.click("#matrix tbody tr:nth-child(2) td button")
	b.search("</script><img")
	b.want("rows", b.texts(rowsShown), "acme/</script><img/src=x/onerror=document.title='pwned'>", "acme/app")
	b.click("[data-view=list]")
	if title := b.ask("document.title"); title != "Who can read which secret: drone-entra" {
		t.Errorf("the title is %v", title)
	}
	if n := b.ask("document.images.length + document.querySelectorAll('[onmouseover],[onerror]').length"); n != 0.0 {
		t.Errorf("%v elements out of names", n)
	}
	b.picture("hostile")
	b.want("complaints", b.complaints())
	b.ask(`document.body.append(Object.assign(document.createElement("script"), {textContent: "document.title = 'pwned'"}))`)
	if complaints := b.complaints(); len(complaints) != 1 || !strings.Contains(complaints[0], "Content Security Policy") {
		t.Errorf("another script is not refused: %q", complaints)
	}
}

// A long list is laid out in part, until all of it is wanted; a search looks through all of it.
func TestLongPageInBrowser(t *testing.T) {
	b := newBrowser(t, surroundings{width: 1400, height: 1000})
	b.open(pageOf(t, "a.yaml", many(1200, 60)), "#list")
	if n := len(b.texts(secretsShown)); n != 500 {
		t.Errorf("%d lines are shown", n)
	}
	b.search("acme/r1034")
	b.want("the last line but a few", b.texts(bindingsShown), "b1190 a.yaml:1195")
	b.want("more", b.texts("#lines .more"))
	b.search("")
	b.click("#lines .more button")
	if n := len(b.texts(secretsShown)); n != 1200 {
		t.Errorf("%d lines are shown", n)
	}
	b.click("[data-view=matrix]")
	if n := len(b.texts(rowsShown)); n != 200 {
		t.Errorf("%d rows are shown", n)
	}
	b.want("complaints", b.complaints())
}

// Without its script the page is the list, complete.
func TestPageWithoutScript(t *testing.T) {
	b := newBrowser(t, surroundings{width: 400, height: 900, withoutScript: true})
	b.open(pageOf(t, "organisation.yaml", sample(t, "organisation.yaml")), "")
	b.picture("without-script")
	if lines := b.texts("#lines tbody tr"); len(lines) < 5 {
		t.Errorf("lines %q", lines)
	}
	b.want("tools", append(b.texts("#tools"), b.texts("#matrix")...))
}

// What was made for a wide screen can be read on a narrow one: nothing but the matrix scrolls sideways.
func TestNarrowPage(t *testing.T) {
	b := newBrowser(t, surroundings{width: 400, height: 900, dark: true})
	for _, view := range []string{"", "#list"} {
		b.open(pageOf(t, "organisation.yaml", sample(t, "organisation.yaml")), view)
		b.picture("narrow" + view)
		if wide := b.ask("document.documentElement.scrollWidth - innerWidth"); wide.(float64) > 0 {
			t.Errorf("%q is %v pixels wider than the window", view, wide)
		}
	}
}
