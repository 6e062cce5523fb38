package fhs

var optionTests = []mergeTest{}
