"""Reading what is trained beside a model: LoRA, LoHa, LoKr, OFT and DoRA, of every trainer."""
