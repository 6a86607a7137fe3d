// Package provider leads a grant to the source that its vault's alias names, and reads on demand.
//
// Its contract is the promise that a build reads each secret afresh: a value that was read for one build serves that
// build's further requests for a minute at most, callers who ask at once share one read, and while a source can't answer
// the last value serves only where its door allows it. Reads stay below what a source bears, with repositories taking turns;
// one that takes long gets a second attempt; a source that can't answer is left alone, and tried again. The Router never judges a value: a disabled or expired one is
// returned, also from memory, for Policy.Admit to refuse.
//
// It trusts that Policy.Decide granted what it is asked for, and that a Source keeps its obligations. It trusts no source
// to be quick, to be well or not to panic.
package provider
