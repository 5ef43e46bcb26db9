"""The category tree of the simulated store and how related two of its leaves truly are.

A line of `TREE` is a shelf: the path to it, then its leaves; a leaf may itself hold a level ("Boots / Hiking
Boots"). A line of `GOES_WITH` names leaves that are bought to be used together. Both are written for this
store.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np

SEPARATOR = " > "
COMPLEMENT = 0.8
SAME_SHELF = 0.45
SAME_AISLE = 0.15
RELATED_FLOOR = 0.3
"""Relatedness from which a purchase counts as related in the truth: complements and leaves of one shelf."""

TREE = """
Home > Kitchen > Coffee and Tea: Drip Coffee Makers, Espresso Machines, Coffee Grinders, Pour-Over Sets, Kettles, Teapots
Home > Kitchen > Cookware: Frying Pans, Saucepans, Dutch Ovens, Woks, Stockpots, Pressure Cookers
Home > Kitchen > Bakeware: Cake Tins, Muffin Trays, Baking Sheets, Mixing Bowls, Rolling Pins
Home > Kitchen > Small Appliances: Stand Mixers, Blenders, Toasters, Air Fryers, Waffle Irons, Rice Cookers
Home > Kitchen > Knives and Boards: Chef Knives, Bread Knives, Knife Sharpeners, Cutting Boards
Home > Dining > Tableware: Dinner Plates, Bowls, Mugs, Wine Glasses, Cutlery Sets, Serving Dishes
Home > Bedroom > Bedding: Duvets, Pillows, Fitted Sheets, Duvet Covers, Mattress Toppers, Throws
Home > Bedroom > Beds: Bed Frames / Double Bed Frames, Bed Frames / Single Bed Frames, Mattresses, Bedside Tables
Home > Bathroom > Bath Linen: Bath Towels, Hand Towels, Bath Mats, Shower Curtains, Bathrobes
Home > Living > Lighting: Floor Lamps, Table Lamps, Ceiling Lights, Light Bulbs / LED Bulbs, Light Bulbs / Smart Bulbs
Home > Living > Decoration: Picture Frames, Wall Mirrors, Candles, Vases, Cushions, Rugs
Home > Storage > Organisers: Shelving Units, Storage Boxes, Coat Racks, Shoe Racks, Laundry Baskets
Home > Cleaning > Floor Care: Upright Vacuums, Robot Vacuums, Vacuum Bags, Mops, Steam Cleaners
Grocery > Drinks > Coffee: Whole Bean Coffee, Ground Coffee, Coffee Capsules, Coffee Filters, Coffee Syrups
Grocery > Drinks > Tea: Green Tea, Black Tea, Herbal Tea
Grocery > Pantry > Baking: Flour, Baking Chocolate, Cake Decorations, Vanilla Extract
Grocery > Pantry > Snacks: Nuts, Granola Bars, Crackers, Chocolate Bars
Clothing > Women > Dresses: Casual Dresses, Evening Dresses, Summer Dresses
Clothing > Women > Tops: Blouses, Women T-Shirts, Women Sweaters, Women Hoodies
Clothing > Women > Bottoms: Women Jeans, Skirts, Leggings, Women Trousers
Clothing > Men > Tops: Dress Shirts, Men T-Shirts, Polo Shirts, Men Sweaters, Men Hoodies
Clothing > Men > Bottoms: Men Jeans, Chinos, Men Shorts, Suit Trousers
Clothing > Men > Tailoring: Suits, Blazers, Ties, Cufflinks
Clothing > Outerwear > Jackets: Rain Jackets, Down Jackets, Fleece Jackets, Parkas, Denim Jackets
Clothing > Underwear > Basics: Socks / Ankle Socks, Socks / Hiking Socks, Briefs, Bras, Thermal Underwear
Clothing > Accessories > Small Goods: Belts, Scarves, Gloves, Beanies, Baseball Caps, Sunglasses
Shoes > Athletic > Running: Road Running Shoes, Trail Running Shoes, Running Insoles
Shoes > Casual > Everyday: Sneakers, Loafers, Sandals, Slippers
Shoes > Formal > Dress Shoes: Oxfords, Heels, Ballet Flats
Shoes > Boots > Outdoor: Boots / Hiking Boots, Boots / Winter Boots, Ankle Boots
Shoes > Care > Shoe Care: Shoe Polish, Shoe Trees, Laces, Waterproofing Spray
Electronics > Phones > Handsets: Smartphones, Feature Phones
Electronics > Phones > Phone Accessories: Phone Cases, Screen Protectors, Phone Chargers, Power Banks, Car Phone Mounts
Electronics > Computers > Laptops: Gaming Laptops, Ultrabooks, Chromebooks
Electronics > Computers > Laptop Accessories: Laptop Sleeves, Laptop Stands, USB Hubs, Laptop Chargers
Electronics > Computers > Peripherals: Monitors, Keyboards / Mechanical Keyboards, Keyboards / Wireless Keyboards, Mice, Webcams, Mouse Pads
Electronics > Computers > Storage Devices: External SSDs, USB Sticks, Memory Cards, NAS Drives
Electronics > Printing > Printers: Inkjet Printers, Laser Printers, Ink Cartridges, Toner, Printer Paper
Electronics > Audio > Headphones: Over-Ear Headphones, In-Ear Headphones, Headphone Stands
Electronics > Audio > Home Audio: Bluetooth Speakers, Soundbars, Turntables, Vinyl Records, Speaker Cables
Electronics > Television > TV Sets: LED TVs, OLED TVs, TV Wall Mounts, HDMI Cables, Streaming Sticks
Electronics > Cameras > Photography: Mirrorless Cameras, Camera Lenses, Tripods, Camera Bags, Camera Batteries, Action Cameras
Electronics > Gaming > Consoles: Game Consoles, Game Controllers, Gaming Headsets, Console Games
Electronics > Wearables > Watches: Smartwatches, Watch Straps, Fitness Bands
Sports > Camping > Shelter: Tents / Family Tents, Tents / Trekking Tents, Tarps, Tent Pegs
Sports > Camping > Sleeping: Sleeping Bags, Sleeping Pads, Camping Pillows
Sports > Camping > Camp Kitchen: Camping Stoves, Gas Canisters, Mess Kits, Cool Boxes, Water Filters
Sports > Hiking > Packs: Day Packs, Trekking Backpacks, Trekking Poles, Hydration Bladders, Headlamps
Sports > Fitness > Strength: Dumbbells, Kettlebells, Weight Benches, Resistance Bands
Sports > Fitness > Yoga: Yoga Mats, Yoga Blocks, Foam Rollers
Sports > Fitness > Nutrition: Protein Powder, Shaker Bottles, Energy Gels
Sports > Cycling > Bicycles: Road Bikes, Mountain Bikes, City Bikes, Electric Bikes
Sports > Cycling > Bike Gear: Bike Helmets, Bike Lights, Bike Locks, Bike Pumps, Inner Tubes, Cycling Shorts
Sports > Water > Swimming: Swimsuits, Swim Goggles, Swim Caps, Beach Towels
Sports > Racket > Tennis: Tennis Rackets, Tennis Balls, Tennis Bags
Sports > Winter > Skiing: Skis, Ski Boots, Ski Goggles, Ski Jackets, Ski Gloves
Beauty > Skin > Face Care: Cleansers, Moisturisers, Serums, Sunscreen, Face Masks
Beauty > Make-Up > Face: Foundation, Concealer, Make-Up Brushes, Make-Up Removers
Beauty > Make-Up > Eyes and Lips: Mascara, Eyeshadow Palettes, Lipsticks, Eyeliners
Beauty > Hair > Hair Care: Shampoo, Conditioner, Hair Dryers, Straighteners, Hair Brushes
Beauty > Shaving > Men's Grooming: Electric Shavers, Razors, Razor Blades, Shaving Foam, Beard Oil
Beauty > Fragrance > Perfume: Eau de Parfum, Eau de Toilette, Body Mists
Beauty > Oral > Dental: Electric Toothbrushes, Brush Heads, Toothpaste, Floss
Baby > Feeding > Bottles and Food: Baby Bottles, Bottle Warmers, Bibs, High Chairs
Baby > Diapering > Diapers: Nappies, Wipes, Changing Mats, Nappy Bags
Baby > Travel > Prams: Strollers, Car Seats, Baby Carriers, Pram Footmuffs
Baby > Nursery > Sleep: Cots, Cot Mattresses, Baby Monitors, Swaddles
Toys > Building > Construction: Brick Sets, Marble Runs, Magnetic Tiles
Toys > Games > Tabletop: Board Games, Card Games, Jigsaw Puzzles, Chess Sets
Toys > Creative > Craft: Modelling Clay, Colouring Pencils, Craft Paper, Bead Kits
Toys > Outdoor > Garden Play: Trampolines, Swings, Paddling Pools, Kick Scooters
Pets > Dogs > Dog Supplies: Dry Dog Food, Dog Treats, Dog Beds, Leashes, Dog Toys
Pets > Cats > Cat Supplies: Wet Cat Food, Cat Litter, Litter Boxes, Scratching Posts, Cat Toys
Pets > Fish > Aquariums: Fish Tanks, Aquarium Filters, Fish Food
Garden > Growing > Plants: Seeds, Potted Plants, Flower Pots, Potting Soil, Fertiliser, Watering Cans
Garden > Outdoor Living > Patio: Garden Tables, Garden Chairs, Parasols, Hammocks
Garden > Outdoor Living > Barbecue: Charcoal Grills, Gas Grills, Charcoal, Grill Tools, Grill Covers
Garden > Tools > Lawn: Lawn Mowers, Hedge Trimmers, Garden Hoses, Secateurs
Tools > Power Tools > Drilling: Cordless Drills, Drill Bits, Hammer Drills, Screwdriver Sets
Tools > Power Tools > Sawing: Circular Saws, Jigsaws, Saw Blades
Tools > Decorating > Painting: Wall Paint, Paint Brushes, Paint Rollers, Masking Tape, Ladders
Office > Writing > Stationery: Fountain Pens, Ink Bottles, Ballpoint Pens, Notebooks, Planners, Highlighters
Office > Furniture > Desks and Chairs: Standing Desks, Office Chairs, Desk Lamps, Monitor Arms
Books > Fiction > Novels: Crime Novels, Science Fiction, Romance Novels, Historical Novels
Books > Non-Fiction > Practical: Cookbooks, Baking Books, Travel Guides, Gardening Books, Hiking Maps
Travel > Luggage > Suitcases: Cabin Suitcases, Checked Suitcases, Packing Cubes, Luggage Tags
Travel > Comfort > On the Road: Neck Pillows, Travel Adapters, Toiletry Bags
Music > Instruments > Guitars: Acoustic Guitars, Electric Guitars, Guitar Strings, Guitar Amplifiers, Guitar Picks
Music > Instruments > Keys: Digital Pianos, Keyboard Stands, Piano Stools
Vehicles > Car Care > Cleaning: Car Shampoo, Wax, Microfibre Cloths
Vehicles > Car Parts > Equipment: Motor Oil, Wiper Blades, Dash Cams, Roof Boxes, Snow Chains
"""  # noqa: E501

GOES_WITH = """
Drip Coffee Makers: Ground Coffee, Coffee Filters, Coffee Grinders, Mugs
Espresso Machines: Whole Bean Coffee, Coffee Grinders, Coffee Syrups, Mugs
Pour-Over Sets: Whole Bean Coffee, Coffee Filters, Kettles
Teapots: Green Tea, Black Tea, Herbal Tea, Mugs
Kettles: Black Tea, Herbal Tea
Stand Mixers: Mixing Bowls, Flour, Baking Books
Cake Tins: Cake Decorations, Flour, Vanilla Extract, Baking Books
Muffin Trays: Baking Chocolate, Flour
Chef Knives: Cutting Boards, Cookbooks
Frying Pans: Cookbooks
Dinner Plates: Wine Glasses, Cutlery Sets
Mattresses: Mattress Toppers, Fitted Sheets, Pillows, Double Bed Frames, Single Bed Frames
Duvets: Duvet Covers, Pillows
Floor Lamps: LED Bulbs, Smart Bulbs
Table Lamps: LED Bulbs, Bedside Tables
Upright Vacuums: Vacuum Bags
Shower Curtains: Bath Mats
Evening Dresses: Heels, Eau de Parfum
Summer Dresses: Sandals, Sunglasses
Suits: Oxfords, Dress Shirts, Ties
Suit Trousers: Belts, Dress Shirts
Women Jeans: Women T-Shirts, Sneakers
Men Jeans: Men T-Shirts, Belts, Sneakers
Leggings: Yoga Mats
Road Running Shoes: Ankle Socks, Energy Gels, Fitness Bands
Trail Running Shoes: Hydration Bladders, Headlamps
Hiking Boots: Hiking Socks, Trekking Poles, Waterproofing Spray, Hiking Maps
Oxfords: Shoe Polish, Shoe Trees
Rain Jackets: Hiking Boots, Day Packs
Smartphones: Phone Cases, Screen Protectors, Phone Chargers, Power Banks
Ultrabooks: Laptop Sleeves, USB Hubs, Monitors, External SSDs
Gaming Laptops: Mice, Gaming Headsets, Mouse Pads
Chromebooks: Laptop Sleeves, USB Sticks
Mirrorless Cameras: Memory Cards, Camera Lenses, Tripods, Camera Bags
Action Cameras: Memory Cards, Bike Helmets
Inkjet Printers: Ink Cartridges, Printer Paper
Laser Printers: Toner, Printer Paper
Turntables: Vinyl Records, Speaker Cables
OLED TVs: Soundbars, HDMI Cables, TV Wall Mounts
LED TVs: Streaming Sticks, HDMI Cables, TV Wall Mounts
Game Consoles: Console Games, Game Controllers, LED TVs
Smartwatches: Watch Straps, Smartphones
Family Tents: Sleeping Bags, Camping Stoves, Cool Boxes
Trekking Tents: Sleeping Pads, Trekking Backpacks, Tent Pegs
Camping Stoves: Gas Canisters, Mess Kits
Trekking Backpacks: Hiking Boots, Water Filters
Dumbbells: Protein Powder, Shaker Bottles, Weight Benches
Road Bikes: Bike Helmets, Cycling Shorts, Bike Pumps
Mountain Bikes: Bike Helmets, Inner Tubes
City Bikes: Bike Locks, Bike Lights
Swimsuits: Beach Towels, Sunscreen, Swim Goggles
Tennis Rackets: Tennis Balls
Skis: Ski Boots, Ski Goggles, Ski Jackets, Roof Boxes
Foundation: Make-Up Brushes, Concealer, Make-Up Removers
Mascara: Make-Up Removers, Eyeliners
Razors: Razor Blades, Shaving Foam
Electric Toothbrushes: Brush Heads, Toothpaste
Baby Bottles: Bottle Warmers, Bibs
Nappies: Wipes, Nappy Bags, Changing Mats
Strollers: Pram Footmuffs, Car Seats
Cots: Cot Mattresses, Baby Monitors, Swaddles
Dry Dog Food: Dog Treats, Leashes
Wet Cat Food: Cat Litter, Cat Toys
Fish Tanks: Aquarium Filters, Fish Food
Seeds: Potting Soil, Flower Pots, Gardening Books
Potted Plants: Flower Pots, Fertiliser, Watering Cans
Garden Tables: Garden Chairs, Parasols
Charcoal Grills: Charcoal, Grill Tools, Grill Covers
Gas Grills: Grill Tools, Grill Covers
Lawn Mowers: Fertiliser, Garden Hoses
Cordless Drills: Drill Bits, Screwdriver Sets
Circular Saws: Saw Blades
Wall Paint: Paint Brushes, Paint Rollers, Masking Tape, Ladders
Fountain Pens: Ink Bottles, Notebooks
Standing Desks: Office Chairs, Monitor Arms, Monitors
Cabin Suitcases: Packing Cubes, Toiletry Bags, Neck Pillows
Checked Suitcases: Luggage Tags, Travel Adapters, Travel Guides
Electric Guitars: Guitar Amplifiers, Guitar Strings
Acoustic Guitars: Guitar Strings, Guitar Picks
Digital Pianos: Keyboard Stands, Piano Stools, Over-Ear Headphones
Car Shampoo: Wax, Microfibre Cloths
"""


class Taxonomy:
    """Leaves, their paths and their planted relatedness.

    Attributes:
        paths: category path of each leaf, in the order of `TREE`.
        names: last component of each path; unique.
    """

    def __init__(self, tree: str = TREE, goes_with: str = GOES_WITH) -> None:
        self.paths: list[str] = []
        shelves: list[str] = []
        for line in tree.strip().splitlines():
            shelf, leaves = line.split(": ")
            for leaf in leaves.split(", "):
                self.paths.append(SEPARATOR.join([shelf, *leaf.split(" / ")]))
                shelves.append(shelf)
        self.names = [path.rsplit(SEPARATOR, 1)[1] for path in self.paths]
        self._shelf = np.unique(shelves, return_inverse=True)[1]
        self._aisle = np.unique([s.rsplit(SEPARATOR, 1)[0] for s in shelves], return_inverse=True)[1]
        self._tops = np.unique([p.split(SEPARATOR)[0] for p in self.paths], return_inverse=True)[1]
        self._goes_with = goes_with
        self.sha256 = hashlib.sha256(f"{tree}\0{goes_with}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def top(self) -> np.ndarray:
        """Index of each leaf's department, shape [leaves]."""
        return self._tops

    @cached_property
    def relatedness(self) -> np.ndarray:
        """True relatedness of leaves in [0, 1], symmetric, ones on the diagonal, shape [leaves, leaves]."""
        related = SAME_AISLE * (self._aisle[:, None] == self._aisle)
        related[self._shelf[:, None] == self._shelf] = SAME_SHELF
        index = {name: i for i, name in enumerate(self.names)}
        for line in self._goes_with.strip().splitlines():
            leaf, partners = line.split(": ")
            for partner in partners.split(", "):
                related[index[leaf], index[partner]] = related[index[partner], index[leaf]] = COMPLEMENT
        np.fill_diagonal(related, 1.0)
        return related
